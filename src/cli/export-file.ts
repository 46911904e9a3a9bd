// The file of an export. It is written beside its name until it is whole, with a note of how far it goes, so that the same
// command goes on there. What the note tells of is on disk before the note is.
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { z } from 'zod'
import type { ExportUsageLogsResponse } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import { CommandFailure, type Io } from './command.ts'

const questionForm = z.strictObject({
  /** The flags as they were given: durations in them are those of the first time. */
  given: z.string(),
  asked: z.strictObject({
    parent: z.string(),
    filter: z.string(),
    orderBy: z.string(),
    columns: z.array(z.string()),
  }),
})
const note = questionForm.extend({ resumeToken: z.string(), bytes: z.int(), rows: z.int() })

/** What an export asks for, by its flags and of the service. */
export type Question = z.output<typeof questionForm>
/** What is asked of the service. */
export type Asked = Question['asked']
type Note = z.output<typeof note>

/** Where chunks go. */
export interface Target {
  /** How far an earlier run came. */
  readonly begun: Note | undefined
  take(chunk: ExportUsageLogsResponse, rows: number): void
  /** After the last chunk. @returns the name of the file; empty if it has none */
  finish(): string
  close(): void
}

/** Opens the file, or what there is of it unless `restart`. @throws CommandFailure, Error of node:fs */
export function openExportFile(file: string, question: Question, restart: boolean, io: Io): Target {
  const [part, noteFile] = [`${file}.part`, `${file}.part.json`]
  const begun = restart || !existsSync(part) ? undefined : progressOf(part, noteFile, question, io)
  // A note must never be taken for one of what is written from here on.
  if (begun === undefined) rmSync(noteFile, { force: true })
  const handle = openSync(part, begun === undefined ? 'w' : 'r+', 0o600)
  // What was written after the note is written again.
  ftruncateSync(handle, begun?.bytes ?? 0)
  let bytes = begun?.bytes ?? 0
  return {
    begun,
    take(chunk, rows) {
      for (let from = 0; from < chunk.data.length; )
        from += writeSync(handle, chunk.data, from, chunk.data.length - from, bytes + from)
      bytes += chunk.data.length
      if (chunk.resumeToken === '') return
      fdatasyncSync(handle)
      const state: Note = { ...(begun ?? question), resumeToken: chunk.resumeToken, bytes, rows }
      writeFileSync(`${noteFile}.new`, JSON.stringify(state), { mode: 0o600 })
      renameSync(`${noteFile}.new`, noteFile)
    },
    finish() {
      fsyncSync(handle)
      renameSync(part, file)
      rmSync(noteFile, { force: true })
      return file
    },
    close: () => closeSync(handle),
  }
}

/** The note of an unfinished file; undefined where it begins anew, which is told unless the file is empty. */
function progressOf(part: string, noteFile: string, { given }: Question, io: Io): Note | undefined {
  const { size } = statSync(part)
  const begun = readNote(noteFile)
  if (begun !== undefined && begun.given !== given) {
    throw new CommandFailure(`${part} is of another export; finish that one, or give --restart.`)
  }
  if (begun !== undefined && begun.bytes <= size) return begun
  if (begun === undefined && size === 0) return undefined
  const why =
    begun === undefined
      ? `${noteFile} does not tell how far it is`
      : `it has ${size} of the ${begun.bytes} octets that ${noteFile} tells of`
  io.err(`${part} cannot be gone on with: ${why}; beginning anew\n`)
  return undefined
}

/** The note of an unfinished file; undefined where none can be read. */
function readNote(file: string): Note | undefined {
  if (!existsSync(file)) return undefined
  try {
    return note.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return undefined
  }
}
