// The scanner of the canary test finds what is planted, in every form and at every place, and nothing else.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { CanaryScanner, formsOf } from './canary-scan.ts'

const secret = Buffer.from(randomBytes(18).toString('base64url'))
const pepper = randomBytes(32)
const scanner = new CanaryScanner(
  new Map([
    ['secret', secret],
    ['pepper', pepper],
  ]),
)

it('finds each form, wherever it stands', () => {
  for (const [canary, octets] of [
    ['secret', secret],
    ['pepper', pepper],
  ] as const) {
    for (const [form, planted] of formsOf(octets)) {
      for (const before of [0, 1, 2, 3, 1000]) {
        const hits = scanner.scan(Buffer.concat([randomBytes(before), planted, randomBytes(7)]), 'x')
        expect(hits, `${form} behind ${before}`).toContainEqual({ canary, form: expect.any(String), where: 'x' })
      }
    }
  }
})

it('finds base64 and JSON of something around it', () => {
  for (let before = 0; before < 6; before++) {
    const around = Buffer.concat([randomBytes(before), Buffer.from(`bbb_live_${secret.toString()}`), randomBytes(5)])
    for (const encoding of ['base64', 'base64url', 'hex'] as const)
      expect(scanner.scanText(around.toString(encoding), 'x')).not.toEqual([])
    expect(scanner.scanText(JSON.stringify(around), 'x')).not.toEqual([])
    expect(
      scanner.scanText([...around].map(octet => `%${octet.toString(16).padStart(2, '0')}`).join(''), 'x'),
    ).not.toEqual([])
  }
})

it('finds it across the parts of a large file, and nothing in noise', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gw-scan-'))
  try {
    const noise = randomBytes(9 * 1024 * 1024)
    writeFileSync(join(folder, 'noise'), noise)
    expect(scanner.scanFolder(folder, () => false)).toEqual({ hits: [], files: 1, octets: noise.length })
    secret.copy(noise, 8 * 1024 * 1024 - 5)
    writeFileSync(join(folder, 'noise'), noise)
    expect(scanner.scanFolder(folder, () => false).hits).toEqual([
      { canary: 'secret', form: 'raw', where: join(folder, 'noise') },
    ])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('finds a secret that a process holds in the snapshot of its heap', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gw-scan-'))
  try {
    const file = join(folder, 'held.heapsnapshot')
    const hold =
      'globalThis.held = process.argv[2].slice(3) + "!"; require("node:v8").writeHeapSnapshot(process.argv[1])'
    execFileSync(process.execPath, ['-e', hold, file, `xyz${secret.toString()}`])
    expect(scanner.scanFile(file).map(({ canary, form }) => `${canary} ${form}`)).toContain('secret raw')
    execFileSync(process.execPath, ['-e', hold, file, `xyz${randomBytes(18).toString('base64url')}`])
    expect(scanner.scanFile(file)).toEqual([])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
