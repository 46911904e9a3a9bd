// The file of an export. It is written beside its name until it is whole, with a note of how far it goes, so that the same
// command goes on there. What the note tells of is on disk before the note is. Replaces no file unless that is asked for, and
// never anything that is no file: a device or a pipe is written to as it is.
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { codeOf } from '../config/read-environment.ts'
import type { ExportUsageLogsResponse } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import { CommandFailure, exitOutput, type Io, OutputFailure } from './command.ts'

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

const partEnding = '.part'
const noteEnding = '.part.json'

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

/** What is to become of what is there. */
export interface Replacing {
  /** An unfinished export is begun anew. */
  readonly restart: boolean
  /** A file is replaced. */
  readonly force: boolean
}

/** What was named for the export. */
export interface Place {
  readonly path: string
  /** Of the file, where `path` is a directory. */
  readonly name: string
}

/** Opens what `path` leads to, symbolic links followed. @throws CommandFailure */
export function openExportFile({ path, name }: Place, question: Question, replacing: Replacing, io: Io): Target {
  try {
    const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
    const file = isDirectory ? fileIn(path, name, question, replacing) : path
    return openTarget(file, question, replacing, io)
  } catch (error) {
    if (!isOfSystem(error)) throw error
    const reason = codeOf(error)
    if (reason === 'ENOENT')
      throw new CommandFailure(`There is no directory ${dirname(path)}; make it, or name another file.`)
    throw new CommandFailure(`${path} cannot be written (${reason}); name another file.`)
  }
}

/** Names that a directory was given for; `ORG-usage-FROM-TO.csv` of any day. */
const namedByDay = /-usage-\d{4}-\d\d-\d\d-\d{4}-\d\d-\d\d\.csv$/

/** The file that this export has in a directory: the one that it began, whatever day that was. */
function fileIn(directory: string, name: string, { given }: Question, { restart }: Replacing): string {
  const begun = readdirSync(directory)
    .filter(each => each.endsWith(partEnding))
    .map(each => join(directory, each.slice(0, -partEnding.length)))
    .filter(file => namedByDay.test(file) && readNote(`${file}${noteEnding}`)?.given === given)
  if (!restart) return begun[0] ?? join(directory, name)
  for (const each of begun.flatMap(file => [`${file}${partEnding}`, `${file}${noteEnding}`]))
    rmSync(each, { force: true })
  return join(directory, name)
}

function openTarget(path: string, question: Question, replacing: Replacing, io: Io): Target {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found?.isCharacterDevice() || found?.isFIFO()) return streamTarget(path)
  if (found === undefined) {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return fileTarget(path, question, replacing, io)
    throw new CommandFailure(`${path} is a symbolic link that leads nowhere; name a file.`)
  }
  if (!found.isFile())
    throw new CommandFailure(`${path} is neither a file nor a directory, device or pipe; name another.`)
  const file = realpathSync(path)
  if (!replacing.force) throw new CommandFailure(existsText(file))
  return fileTarget(file, question, replacing, io)
}

function existsText(file: string): string {
  return `${file} exists already; give --force to replace it, or name another.`
}

function streamTarget(path: string): Target {
  const handle = openSync(path, constants.O_WRONLY)
  return explained(path, 'Free some space, or write elsewhere.', {
    begun: undefined,
    take: ({ data }) => writeWhole(handle, data, null),
    finish: () => path,
    close: () => closeSync(handle),
  })
}

function fileTarget(file: string, question: Question, { restart, force }: Replacing, io: Io): Target {
  const [part, noteFile] = [`${file}${partEnding}`, `${file}${noteEnding}`]
  const left = lstatSync(part, { throwIfNoEntry: false })
  if (left?.isFile() === false)
    throw new CommandFailure(`${part} is no regular file; move it away, or name another file with --out.`)
  const begun = restart || left === undefined ? undefined : progressOf(part, left.size, noteFile, question, io)
  let bytes = begun?.bytes ?? 0
  // A note must never be taken for one of what is written from here on.
  if (bytes === 0) rmSync(noteFile, { force: true })
  const handle = openSync(part, begun === undefined ? 'w' : 'r+', 0o600)
  // What was written after the note is written again.
  ftruncateSync(handle, bytes)
  return explained(part, partMend, {
    begun,
    take(chunk, rows) {
      writeWhole(handle, chunk.data, bytes)
      bytes += chunk.data.length
      if (chunk.resumeToken === '') return
      fdatasyncSync(handle)
      const state: Note = { ...(begun ?? question), resumeToken: chunk.resumeToken, bytes, rows }
      writeFileSync(`${noteFile}.new`, JSON.stringify(state), { mode: 0o600 })
      renameSync(`${noteFile}.new`, noteFile)
    },
    finish() {
      fsyncSync(handle)
      place(part, file, force)
      rmSync(noteFile, { force: true })
      return file
    },
    close: () => closeSync(handle),
  })
}

const partMend = 'What is there stays: mend that and run the same command again, it goes on from there.'

/** The same target; where the system refuses a step, the command ends with the cause and `mend`. */
function explained(file: string, mend: string, target: Target): Target {
  const step = <Result>(work: () => Result): Result => {
    try {
      return work()
    } catch (error) {
      if (!isOfSystem(error)) throw error
      const reason = codeOf(error)
      // Whoever reads a pipe no further knows it.
      if (reason === 'EPIPE') throw new OutputFailure(reason)
      throw new CommandFailure(`${file} cannot be written (${reason}). ${mend}`, exitOutput)
    }
  }
  return {
    begun: target.begun,
    take: (chunk, rows) => step(() => target.take(chunk, rows)),
    finish: () => step(target.finish),
    close: () => step(target.close),
  }
}

/** Whether it is the answer of the system to a call of node:fs. */
function isOfSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}

/** Writes all of `data`; `position` null: where the last write ended. */
function writeWhole(handle: number, data: Uint8Array, position: number | null): void {
  for (let from = 0; from < data.length; )
    from += writeSync(handle, data, from, data.length - from, position === null ? null : position + from)
}

/** Gives a whole file its name, in one step. @throws CommandFailure if there is another by now */
function place(part: string, file: string, force: boolean): void {
  if (!force && isLinked(part, file)) rmSync(part)
  else renameSync(part, file)
}

/** Whether the file has its second name: not on a file system without hard links. */
function isLinked(part: string, file: string): boolean {
  try {
    linkSync(part, file)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw new CommandFailure(existsText(file))
    return false
  }
}

/** How far an unfinished file is. That it begins anew is told, unless it is empty; with what was asked then, if that is known. */
function progressOf(part: string, size: number, noteFile: string, { given }: Question, io: Io): Note | undefined {
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
  return begun && { ...begun, resumeToken: '', bytes: 0, rows: 0 }
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
