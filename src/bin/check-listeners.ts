// Where the check role listens and with which credentials. Files are read once, at start.
import { ServerCredentials } from '@grpc/grpc-js'
import type { Config, TlsFiles } from '../config/config.ts'
import { readTlsFiles } from './tls-files.ts'

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

function toCredentials(files: TlsFiles): ServerCredentials {
  const { cert, key, clientCa } = readTlsFiles('check.tls', files)
  return ServerCredentials.createSsl(clientCa, [{ cert_chain: cert, private_key: key }], clientCa !== null)
}
