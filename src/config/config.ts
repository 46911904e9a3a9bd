// What a process is told: every setting in its final form, defaults filled in. Frozen; made only by load-config.ts.
// Secrets other than the database's URL are files: this holds their paths.

export const roles = ['serve', 'check', 'admin', 'migrate', 'bootstrap', 'client'] as const

/** What a process does; `client` is every command that calls an admin service. */
export type Role = (typeof roles)[number]

/** A pepper and the file that holds its 64 hex digits. */
export interface PepperFile {
  readonly id: string
  readonly file: string
}

/** Paths of PEM files. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  /** Null: callers need no certificate. */
  readonly clientCa: string | null
}

/** Where the trusted client address is read (envoy-contract.md section 6.2). */
export type ClientAddressSetting =
  | { readonly mode: 'grpc-metadata' }
  | { readonly mode: 'trusted-header'; readonly header: string }
  | { readonly mode: 'xff-hops'; readonly hops: number; readonly appended: boolean }
  | { readonly mode: 'xff-trusted-cidrs'; readonly trustedCidrs: readonly string[]; readonly appended: boolean }
  | { readonly mode: 'source-address' }

export type OwnFailure = 'denied-503' | 'error_response' | 'rpc-error'
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface Config {
  readonly role: Role
  readonly database: {
    /** Null: the embedded PostgreSQL in `dataDir`. */
    readonly url: string | null
  }
  /** Absolute. */
  readonly dataDir: string
  readonly profiles: {
    /** Absolute; null: the packaged profiles. */
    readonly dir: string | null
  }
  /** The first is primary; null: those that `serve` keeps in `dataDir`. */
  readonly peppers: readonly PepperFile[] | null
  readonly deployment: {
    readonly environment: string
    /** Null: all. */
    readonly accept: readonly string[] | null
  }
  readonly check: {
    readonly listen: readonly string[]
    readonly tls: TlsFiles | null
    /** Null: all. */
    readonly profiles: readonly string[] | null
    readonly ownFailure: OwnFailure
    /** Of cleartext listeners. */
    readonly transport: 'grpc-js' | 'h2'
    /** Processes that answer; more than 1: endpoints are numbered (worker-endpoints.ts). */
    readonly workers: number
  }
  readonly als: { readonly listen: readonly string[] }
  /** Null only in roles that answer no checks. */
  readonly clientAddress: ClientAddressSetting | null
  readonly feed: { readonly proof: 'write' | 'read' }
  readonly admin: {
    readonly listen: string
    readonly tls: TlsFiles | null
    readonly reflection: boolean
    /** Null: the one that `serve` keeps in `dataDir`. */
    readonly pepper: PepperFile | null
  }
  readonly facade: {
    readonly listen: string
    /** DNS or URI names of certificates that callers on TCP may have. */
    readonly trustedPeers: readonly string[]
  }
  readonly metrics: { readonly listen: string }
  readonly cli: { readonly server: string; readonly keyFile: string }
  readonly usage: {
    /** Absolute. */
    readonly spoolDir: string
    readonly spoolMaxBytes: number
  }
  readonly log: { readonly level: LogLevel }
}
