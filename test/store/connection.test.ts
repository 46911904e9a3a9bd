// A DATABASE_URL becomes servers to try in turn, and column values come exactly or as the text they were.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { micros, timestamptzParameter } from '../../src/store/column-values.ts'
import { databaseFromUrl, sessionConfig } from '../../src/store/connection.ts'
import { StoreSetupError } from '../../src/store/store-error.ts'
import { useTestDatabase } from '../support/test-database.ts'

describe('databaseFromUrl', () => {
  it('keeps a URL of one host', () => {
    expect(databaseFromUrl('postgres://u:p%40@db.example:5433/app?sslmode=verify-full').servers).toEqual([
      { connectionString: 'postgres://u:p%40@db.example:5433/app?sslmode=verify-full' },
    ])
  })

  it('gives one server for each of several hosts, in order', () => {
    expect(
      databaseFromUrl('postgresql://u@a:1,b:2,[::1]:3/app').servers.map(server => server.connectionString),
    ).toEqual(['postgresql://u@a:1/app', 'postgresql://u@b:2/app', 'postgresql://u@[::1]:3/app'])
  })

  it.each(['', 'mysql://a/b', 'db.example', 'postgres//x', 'postgres://a:port/b', 'postgres://a,b:port/c'])(
    'refuses %j without repeating it',
    url => {
      expect(() => databaseFromUrl(url)).toThrow(StoreSetupError)
      expect(() => databaseFromUrl(url)).toThrow(/is not a PostgreSQL URL: write postgres:\/\/user/)
    },
  )

  it('never names a password', () => {
    expect(() => databaseFromUrl('postgres://u:hunter2@a:port/b')).toThrow(/^((?!hunter2).)*$/)
  })
})

describe('sessionConfig', () => {
  it("puts its settings after the URL's own options, so that they win", () => {
    const [server] = databaseFromUrl('postgres://a/b?options=-c%20search_path%3Devil').servers
    const config = sessionConfig(server, { role: 'gw_admin', applicationName: 'test', settings: { a: 'b c\\' } })
    expect(config.connectionString).toBe('postgres://a/b')
    expect(config.options).toMatch(/^-c search_path=evil -c search_path=gatewarden,pg_temp /)
    expect(config.options).toContain('-c a=b\\ c\\\\')
    expect(config.options).toMatch(/ -c role=gw_admin$/)
  })
})

describe('instants', () => {
  const database = useTestDatabase()

  it('come exactly, to the microsecond, and go back the same', () => {
    expect(micros('2020-01-01 00:00:00+00')).toBe(0)
    expect(micros('2020-01-01 00:00:00.000001+00')).toBe(1)
    expect(micros('2019-12-31 23:59:59.999999+00')).toBe(-1)
    expect(micros('2026-05-30 20:23:16.5+00')).toBe(microsFromUnixMs(Date.UTC(2026, 4, 30, 20, 23, 16, 500)))
    expect(timestamptzParameter(-1)).toBe('2019-12-31T23:59:59.999999+00')
  })

  it.each([
    'infinity',
    '-infinity',
    '4713-01-01 00:00:00+00 BC',
    '294276-12-31 00:00:00+00',
    '2026-01-01 00:00:00+02',
    '2026-01-01',
    '',
  ])('stay text when they cannot be exact: %j', text => expect(micros(text)).toBe(text))

  it.each([Number.NaN, 0.5, Number.POSITIVE_INFINITY, Number.MIN_SAFE_INTEGER * 8])(
    'are refused as a parameter: %s',
    value => {
      expect(() => timestamptzParameter(value)).toThrow(RangeError)
    },
  )

  it('survive the way through the database', async () => {
    const client = database().client()
    await client.connect()
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: microsFromUnixMs(Date.UTC(1900, 0, 1)), max: microsFromUnixMs(Date.UTC(2290, 0, 1)) }),
        async value => {
          const found = await client.query<{ at: number }>('SELECT $1::timestamptz AS at', [
            timestamptzParameter(value),
          ])
          expect(found.rows[0]?.at).toBe(value)
        },
      ),
      { numRuns: 200 },
    )
    await client.end()
  })
})
