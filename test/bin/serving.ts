// A `gatewarden serve` of its own for a test file, on unix sockets of one directory, and the command line against it in process.

import { randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Io } from '../../src/cli/command.ts'
import { allCommands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/main.ts'
import { type Running, startGatewarden } from '../support/gatewarden-process.ts'
import { preparedDataDir } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'

const startWithinMs = 40_000

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface Serving {
  readonly directory: string
  readonly dataDir: string
  readonly process: Running
  readonly environment: Readonly<Record<string, string>>
  /** Runs a client command in this process. */
  run(...args: string[]): Promise<Ran>
  stop(): Promise<void>
}

/** A directory that the embedded database can be reached in, also when tests run as root. */
export function openDirectory(prefix: string): string {
  const directory = mkdtempSync(join(tmpdir(), prefix))
  chmodSync(directory, 0o755)
  return directory
}

/** Settings that keep everything in one directory. */
export function settingsIn(directory: string): Record<string, string> {
  return {
    GATEWARDEN_DATA_DIR: join(directory, 'd'),
    GATEWARDEN_CHECK_LISTEN: `unix:${directory}/check.sock`,
    GATEWARDEN_ALS_LISTEN: `unix:${directory}/als.sock`,
    GATEWARDEN_ADMIN_LISTEN: `unix:${directory}/admin.sock`,
    GATEWARDEN_METRICS_LISTEN: `unix:${directory}/metrics.sock`,
    GATEWARDEN_CLI_SERVER: `unix:${directory}/admin.sock`,
    GATEWARDEN_PROFILES_DIR: repositoryFile('profiles'),
  }
}

/** Waits until a process has printed something; throws with its output if it ends before. */
export async function untilPrinted(process: Running, text: string): Promise<void> {
  let ended: number | null | undefined
  void process.exited.then(code => {
    ended = code
  })
  await until(`the process prints ${text}`, () => ended !== undefined || process.output().includes(text), startWithinMs)
  if (!process.output().includes(text)) throw new Error(`ended with ${ended}: ${process.output()}`)
}

const noRole = () => Promise.reject(new Error('roles run as processes of their own'))

/** Runs a client command in this process. */
export async function runClient(
  environment: Readonly<Record<string, string>>,
  cwd: string,
  args: readonly string[],
  now = Date.now,
): Promise<Ran> {
  let out = ''
  let err = ''
  const io: Io = {
    out: text => {
      out += text
    },
    err: text => {
      err += text
    },
    environment,
    cwd,
    now,
    uuid: () => randomUUID(),
  }
  const roles = { serve: noRole, check: noRole, admin: noRole, migrate: noRole, bootstrap: noRole }
  const code = await runCommandLine(args, allCommands(roles, repositoryFile('profiles')), 'test', io)
  return { code, out, err }
}

/** Starts it and waits until it serves. The database's files were made before; the schema was not. */
export async function startServing(): Promise<Serving> {
  const directory = openDirectory('gwv-')
  const dataDir = await preparedDataDir()
  const environment = { ...settingsIn(directory), GATEWARDEN_DATA_DIR: dataDir }
  const process = startGatewarden(['serve'], environment, directory)
  const stop = async () => {
    await process.stop('SIGINT')
    for (const each of [directory, dataDir]) rmSync(each, { recursive: true, force: true })
  }
  try {
    await untilPrinted(process, 'gatewarden keys create')
  } catch (error) {
    await stop()
    throw error
  }
  return { directory, dataDir, process, environment, stop, run: (...args) => runClient(environment, directory, args) }
}
