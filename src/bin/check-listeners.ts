// Where the check role listens and with which credentials. Files are read once, at start.
import { readFileSync } from 'node:fs'
import { ServerCredentials } from '@grpc/grpc-js'
import type { Config, TlsFiles } from '../config/config.ts'

/** Addresses that share credentials. */
export interface ListenGroup {
  readonly listen: readonly string[]
  /** Absent: cleartext. */
  readonly credentials?: ServerCredentials
}

/** Unix sockets are cleartext behind file permissions; TCP speaks TLS where it is configured. */
export function checkListeners({ check }: Config): readonly ListenGroup[] {
  if (check.tls === null) return [{ listen: check.listen }]
  const isUnix = (address: string) => address.startsWith('unix:')
  const unix = check.listen.filter(isUnix)
  const tcp = check.listen.filter(address => !isUnix(address))
  const groups = [{ listen: unix }, { listen: tcp, credentials: toCredentials(check.tls) }]
  return groups.filter(({ listen }) => listen.length > 0)
}

function toCredentials({ cert, key, clientCa }: TlsFiles): ServerCredentials {
  const ca = clientCa === null ? null : readFileSync(clientCa)
  return ServerCredentials.createSsl(
    ca,
    [{ cert_chain: readFileSync(cert), private_key: readFileSync(key) }],
    clientCa !== null,
  )
}
