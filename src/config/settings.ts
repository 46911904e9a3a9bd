// Every setting of the product in one table: name, accepted values, default, meaning.
// The reader, the checks, and the table in docs/configuration.md all come from here; a name that is not here is a fault.
import { z } from 'zod'
import { parseListen, unixPathLengthMax } from './listen-address.ts'

/** How the text of an environment variable becomes a value: YAML carries types of its own. */
export type SettingForm = 'text' | 'number' | 'flag' | 'list' | 'pairs'

/** One setting. */
export interface Setting<Schema extends z.ZodType = z.ZodType> {
  readonly form: SettingForm
  readonly schema: Schema
  /** What is accepted, for people: follows "accepted: " in a fault. */
  readonly accepts: string
  /** The default, for people. */
  readonly fallback: string
  readonly meaning: string
  /** The value is secret: never shown, and `<name>_FILE` names a file that holds it. */
  readonly secret?: true
  /** Another environment variable, known from elsewhere. */
  readonly alias?: string
  /** Set when the part that reads it is not in this version: accepted and checked, then named in a warning at start. */
  readonly unread?: true
}

const idPattern = /^[a-z0-9][a-z0-9_-]{0,31}$/
/** Spool bound: below it a second of traffic would not fit, above it nobody means it. */
const spoolBytesMin = 1_048_576
const spoolBytesMax = 1_099_511_627_776
/** Some hours of a busy process without its database. */
export const spoolBytesDefault = 1_073_741_824
/** Trusted proxies before Envoy; a longer chain is not walked (envoy-contract: at most 20 entries). */
const hopsMax = 20
/** Far more than one machine has cores for; each process holds the whole table. */
const workersMax = 64

const text = z.string().min(1)
const path = z.string().min(1)
const listen = z.string().refine(value => parseListen(value) !== undefined)
const listenList = z.array(listen).min(1).max(8)
const listenAccepts = `host:port, [v6]:port or unix:/path (at most ${unixPathLengthMax} octets)`
const pepper = z.strictObject({ id: z.string().regex(idPattern), file: path })

function url(protocols: readonly string[]): z.ZodType<string> {
  return z.string().refine(value => URL.canParse(value) && protocols.includes(new URL(value).protocol))
}

function setting<Schema extends z.ZodType>(of: Setting<Schema>): Setting<Schema> {
  return of
}

/** All settings, in the order of the documentation. */
export const settings = {
  'database.url': setting({
    form: 'text',
    schema: url(['postgres:', 'postgresql:']),
    accepts: 'a URL that begins with postgres:// or postgresql://',
    fallback: 'the embedded PostgreSQL (`serve` only)',
    meaning: 'the PostgreSQL that holds organizations and API keys',
    secret: true,
    alias: 'DATABASE_URL',
  }),
  data_dir: setting({
    form: 'text',
    schema: path,
    accepts: 'a directory',
    fallback: '`./.gatewarden`',
    meaning: 'where the embedded PostgreSQL, sockets, peppers and the admin key of `serve` live',
  }),
  'redis.url': setting({
    form: 'text',
    schema: url(['redis:', 'rediss:']),
    accepts: 'a URL that begins with redis:// or rediss://',
    fallback: 'none',
    meaning: 'shared rate limits',
    secret: true,
    alias: 'REDIS_URL',
    unread: true,
  }),
  'profiles.dir': setting({
    form: 'text',
    schema: path,
    accepts: 'a directory of profile files',
    fallback: '`./profiles` if it exists, else the packaged three',
    meaning: 'product profiles; watched',
  }),
  peppers: setting({
    form: 'pairs',
    schema: z
      .array(pepper)
      .min(1)
      .max(2)
      .refine(list => new Set(list.map(entry => entry.id)).size === list.length),
    accepts: 'one or two {id, file}; as text id=file,id=file; ids and files differ, ids match [a-z0-9][a-z0-9_-]{0,31}',
    fallback: 'made by `serve` on its first start, in `data_dir`',
    meaning: 'peppers of API key digests, the first is primary; a file holds 64 hex digits, mode 0400 or 0600',
  }),
  'admin.pepper.id': setting({
    form: 'text',
    schema: z.string().regex(idPattern),
    accepts: 'an id that matches [a-z0-9][a-z0-9_-]{0,31}',
    fallback: '`a1`',
    meaning: 'id of the pepper of admin keys',
  }),
  'admin.pepper.file': setting({
    form: 'text',
    schema: path,
    accepts: 'a file with 64 hex digits, mode 0400 or 0600',
    fallback: 'made by `serve` on its first start, in `data_dir`',
    meaning: 'the pepper of admin keys; page tokens are authenticated under a key derived from it',
  }),
  'deployment.environment': setting({
    form: 'text',
    schema: z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/),
    accepts: 'a name that matches [a-z][a-z0-9_-]{0,31}',
    fallback: '`production`',
    meaning: 'what a profile writes where its bodies name the environment of the deployment',
  }),
  'deployment.accept': setting({
    form: 'list',
    schema: z.array(text).min(1).max(8),
    accepts: 'a list of names of key environments, as the profiles have them',
    fallback: 'all',
    meaning: 'key environments that this deployment accepts',
  }),
  'check.listen': setting({
    form: 'list',
    schema: listenList,
    accepts: `a list of ${listenAccepts}`,
    fallback: '`unix:<data_dir>/check.sock` and `127.0.0.1:9001`',
    meaning: 'where Envoy asks: Check and health',
  }),
  'check.tls.cert': setting({
    form: 'text',
    schema: path,
    accepts: 'a PEM file',
    fallback: 'none',
    meaning: 'certificate chain of the check listeners on TCP',
  }),
  'check.tls.key': setting({
    form: 'text',
    schema: path,
    accepts: 'a PEM file',
    fallback: 'none',
    meaning: 'private key of the check listeners on TCP',
  }),
  'check.tls.client_ca': setting({
    form: 'text',
    schema: path,
    accepts: 'a PEM file',
    fallback: 'none',
    meaning: 'CA that must have signed the certificate of a calling Envoy',
  }),
  'check.transport': setting({
    form: 'text',
    schema: z.enum(['grpc-js', 'h2']),
    accepts: 'grpc-js or h2',
    fallback: '`h2`',
    meaning: 'how the bytes of a check arrive; TLS listeners use grpc-js whatever it says',
  }),
  'check.workers': setting({
    form: 'number',
    schema: z.int().min(1).max(workersMax),
    accepts: `a whole number from 1 to ${workersMax}`,
    fallback: '1',
    meaning: 'processes of `check` that answer, each on numbered endpoints of its own',
  }),
  'check.profiles': setting({
    form: 'list',
    schema: z.array(text).min(1).max(256),
    accepts: 'a list of profile names',
    fallback: 'all',
    meaning: 'profiles this process serves; it holds no API key of any other',
  }),
  'client_address.mode': setting({
    form: 'text',
    schema: z.enum(['grpc-metadata', 'trusted-header', 'xff-hops', 'xff-trusted-cidrs', 'source-address']),
    accepts: 'grpc-metadata, trusted-header, xff-hops, xff-trusted-cidrs or source-address',
    fallback: '`serve`: `grpc-metadata`; `check`: none, must be set',
    meaning: 'where the trusted client address is read',
  }),
  'client_address.hops': setting({
    form: 'number',
    schema: z.int().min(0).max(hopsMax),
    accepts: `a whole number from 0 to ${hopsMax}`,
    fallback: 'none, must be set with `xff-hops`',
    meaning: 'trusted proxies in front of Envoy, counted from the right',
  }),
  'client_address.appended': setting({
    form: 'flag',
    schema: z.boolean(),
    accepts: 'true or false',
    fallback: 'none, must be set with `xff-hops`; true with `xff-trusted-cidrs`',
    meaning: 'whether Envoy appended the peer to x-forwarded-for before it asked',
  }),
  'client_address.trusted_cidrs': setting({
    form: 'list',
    schema: z.array(text).min(1).max(256),
    accepts: 'a list of addresses and CIDR blocks without host bits, none of every address',
    fallback: 'none, must be set with `xff-trusted-cidrs`',
    meaning: 'addresses of proxies whose x-forwarded-for entries are believed',
  }),
  'client_address.header': setting({
    form: 'text',
    schema: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/),
    accepts: 'a lower-case header name',
    fallback: 'none, must be set with `trusted-header`',
    meaning: 'header that Envoy overwrites with the client address before it asks',
  }),
  'check.own_failure': setting({
    form: 'text',
    schema: z.enum(['denied-503', 'error_response', 'rpc-error']),
    accepts: 'denied-503, error_response or rpc-error',
    fallback: '`denied-503`',
    meaning: 'the form of a reply when Gatewarden itself cannot answer',
  }),
  'check.stale_if_error': setting({
    form: 'flag',
    schema: z.literal(false),
    accepts: 'false (serving stale keys comes with a later version)',
    fallback: 'false',
    meaning: 'whether keys known as active are allowed for a while after the lease has ended',
  }),
  'feed.proof': setting({
    form: 'text',
    schema: z.enum(['write', 'read']),
    accepts: 'write or read',
    fallback: '`write`',
    meaning:
      'what proves that the database is the current primary: a committed heartbeat, or a read alone; read only where the service fences a former primary',
  }),
  'limits.sharing': setting({
    form: 'text',
    schema: z.literal('local'),
    accepts: 'local (lease comes with a later version)',
    fallback: '`local`',
    meaning: 'whether rate limits are counted by each process or shared',
  }),
  'admin.listen': setting({
    form: 'text',
    schema: listen,
    accepts: listenAccepts,
    fallback: '`127.0.0.1:9002`',
    meaning: 'the admin gRPC service; beyond loopback only with TLS',
  }),
  'admin.tls.cert': setting({
    form: 'text',
    schema: path,
    accepts: 'a PEM file',
    fallback: 'none',
    meaning: 'certificate chain of the admin listener',
  }),
  'admin.tls.key': setting({
    form: 'text',
    schema: path,
    accepts: 'a PEM file',
    fallback: 'none',
    meaning: 'private key of the admin listener',
  }),
  'admin.tls.client_ca': setting({
    form: 'text',
    schema: path,
    accepts: 'a PEM file',
    fallback: 'none',
    meaning: 'CA that must have signed the certificate of an admin caller',
  }),
  'admin.reflection': setting({
    form: 'flag',
    schema: z.boolean(),
    accepts: 'true or false',
    fallback: 'false',
    meaning: 'gRPC server reflection on the admin listener',
  }),
  'als.listen': setting({
    form: 'list',
    schema: listenList,
    accepts: `a list of ${listenAccepts}`,
    fallback: '`unix:<data_dir>/als.sock` and `127.0.0.1:9003`',
    meaning: 'the access log stream of Envoy, and health; TCP speaks `check.tls` where that is set',
  }),
  'facade.listen': setting({
    form: 'text',
    schema: listen,
    accepts: listenAccepts,
    fallback: '`unix:<data_dir>/facade.sock`',
    meaning: 'the HTTP interface that products document, such as creating an API key',
  }),
  'facade.trusted_peers': setting({
    form: 'list',
    schema: z.array(text).min(1).max(64),
    accepts: 'a list of certificate names',
    fallback: 'none',
    meaning:
      'DNS or URI names of certificates whose holders may call the facade on TCP; the files are those of `admin.tls`',
  }),
  'metrics.listen': setting({
    form: 'text',
    schema: listen,
    accepts: listenAccepts,
    fallback: '`127.0.0.1:9090`',
    meaning: '/metrics, /livez and /readyz over HTTP',
  }),
  'cli.server': setting({
    form: 'text',
    schema: listen,
    accepts: listenAccepts,
    fallback: '`127.0.0.1:9002`',
    meaning: 'the admin service that the client commands call',
  }),
  'cli.key_file': setting({
    form: 'text',
    schema: path,
    accepts: 'a file with an admin key, mode 0400 or 0600',
    fallback: '`<data_dir>/admin.key`, which `serve` made',
    meaning: 'the admin key of the client commands',
  }),
  'usage.spool_dir': setting({
    form: 'text',
    schema: path,
    accepts: 'a directory',
    fallback: '`<data_dir>/spool`',
    meaning:
      'requests recorded but not in the database yet; processes may share it, and a start stores what others left',
  }),
  'usage.spool_max_bytes': setting({
    form: 'number',
    schema: z.int().min(spoolBytesMin).max(spoolBytesMax),
    accepts: `a whole number from ${spoolBytesMin} to ${spoolBytesMax}`,
    fallback: `${spoolBytesDefault}`,
    meaning: 'bound of the spool in octets, for each process; at it the oldest allowed requests are given up first',
  }),
  'log.level': setting({
    form: 'text',
    schema: z.enum(['debug', 'info', 'warn', 'error']),
    accepts: 'debug, info, warn or error',
    fallback: '`info`',
    meaning: 'least severe line that is written',
  }),
} as const

export type SettingPath = keyof typeof settings

/** What was set, by path; absent: not set, the default holds. */
export type SettingValues = { readonly [Path in SettingPath]?: z.infer<(typeof settings)[Path]['schema']> }

/** Every path, in the order of the table. */
export const settingPaths = Object.keys(settings).filter((key): key is SettingPath => key in settings)

/** The setting of a path, without the type of its value. */
export function settingOf(name: SettingPath): Setting {
  return settings[name]
}

/** A setting for people: its path and the environment variable, such as `log.level (GATEWARDEN_LOG_LEVEL)`. */
export function settingName(name: SettingPath): string {
  return `${name} (${environmentNames(name).value[0]})`
}

/** Prefix of the product's own environment variables. */
export const environmentPrefix = 'GATEWARDEN_'

/** The environment variables of a setting, the usual one first; those that end in `_FILE` name a file with the value. */
export function environmentNames(name: SettingPath): {
  readonly value: readonly string[]
  readonly file: readonly string[]
} {
  const { alias, secret } = settingOf(name)
  const own = `${environmentPrefix}${name.toUpperCase().replaceAll('.', '_')}`
  const value = alias === undefined ? [own] : [alias, own]
  return { value, file: secret ? value.map(each => `${each}_FILE`) : [] }
}
