// Where the check role listens and with which credentials.
import type { ServerCredentials } from '@grpc/grpc-js'
import type { Config } from '../config/config.ts'
import { type TlsWatchPorts, watchedCredentials } from './tls-watch.ts'

/** Addresses that share credentials. */
export interface ListenGroup {
  readonly listen: readonly string[]
  /** Absent: cleartext. */
  readonly credentials?: ServerCredentials
}

/** Unix sockets are cleartext behind file permissions; TCP speaks TLS where it is configured. @throws StartError */
export function checkListeners({ check }: Config, ports: TlsWatchPorts): readonly ListenGroup[] {
  if (check.tls === null) return [{ listen: check.listen }]
  const isUnix = (address: string) => address.startsWith('unix:')
  const unix = check.listen.filter(isUnix)
  const tcp = check.listen.filter(address => !isUnix(address))
  const groups = [{ listen: unix }, { listen: tcp, credentials: watchedCredentials('check.tls', check.tls, ports) }]
  return groups.filter(({ listen }) => listen.length > 0)
}
