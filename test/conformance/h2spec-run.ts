// h2spec, the conformance tool for HTTP/2 servers: built once from its pinned Go module, run against a loopback port, and its
// report read into one verdict a case. Sections: RFC 9113 and 7541 as h2spec numbers them (7540 and "generic").
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { programOnPath } from '../support/program-on-path.ts'
import { repositoryFile } from '../support/repository-file.ts'

export type Verdict = 'passed' | 'failed' | 'skipped'

const buildLimitMs = 300_000
const runLimitMs = 120_000
/** A case that waits for an answer that never comes waits this long; on loopback a tenth would do. */
const caseTimeoutSeconds = 1

const program = join(repositoryFile('.cache'), 'h2spec-2.2.1')

/** Path of h2spec; undefined when there is neither a built one nor a Go toolchain. @throws Error when the build fails */
export async function h2specProgram(): Promise<string | undefined> {
  if (existsSync(program)) return program
  if (programOnPath('go') === undefined) return undefined
  const command = 'github.com/summerwind/h2spec/cmd/h2spec'
  await promisify(execFile)('go', ['build', '-mod=readonly', '-o', program, command], {
    cwd: repositoryFile('test/conformance/h2spec'),
    timeout: buildLimitMs,
  })
  return program
}

/** Runs every case against a server in another process or with an event loop of its own turns. Keys: `section: title`. */
export async function runH2spec(path: string, port: number, target: string): Promise<ReadonlyMap<string, Verdict>> {
  const folder = mkdtempSync(join(tmpdir(), 'gw-h2spec-'))
  const report = join(folder, 'report.xml')
  const limits = ['-o', String(caseTimeoutSeconds), '-P', target, '-j', report]
  try {
    // It exits 1 when a case fails; whether it ran at all shows in its report.
    await promisify(execFile)(path, ['-h', '127.0.0.1', '-p', String(port), ...limits], {
      timeout: runLimitMs,
      maxBuffer: 16 * 1024 * 1024,
    }).catch(() => undefined)
    return verdictsIn(readFileSync(report, 'latin1'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const testCase = /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g

function verdictsIn(report: string): ReadonlyMap<string, Verdict> {
  const verdicts = new Map<string, Verdict>()
  for (const [, section = '', title = '', inside = ''] of report.matchAll(testCase)) {
    const verdict = inside.includes('<skipped') ? 'skipped' : inside.includes('<error') ? 'failed' : 'passed'
    verdicts.set(`${section}: ${title}`, verdict)
  }
  return verdicts
}
