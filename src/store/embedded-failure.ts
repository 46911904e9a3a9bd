// Turns what initdb, postgres or the system said into one sentence that names the mend. The whole text stays in `cause`.
import { messageOf, StoreSetupError } from './store-error.ts'

/** The sentence for a failure of the embedded server whose files lie in `folder`. */
export function explainFailure(folder: string, error: unknown): StoreSetupError {
  if (error instanceof StoreSetupError) return error
  const text = messageOf(error)
  return new StoreSetupError(`The embedded PostgreSQL in ${folder} failed: ${sentence(folder, text)}`, { cause: error })
}

function sentence(folder: string, text: string): string {
  if (/No space left on device|ENOSPC|could not extend file|File too large|EFBIG/.test(text)) {
    return 'the disk is full; free some space, or choose another data_dir. Nothing that was acknowledged is lost.'
  }
  if (/incompatible with server|initialized by PostgreSQL version/.test(text)) {
    return 'its files belong to another PostgreSQL version; run the build that made them, or choose another data_dir.'
  }
  if (/wrong ownership|Permission denied|EACCES|EPERM|Operation not permitted/.test(text)) {
    return 'its files belong to another user; start as that user, or choose another data_dir.'
  }
  if (/EROFS|Read-only file system/.test(text)) return 'the file system is read-only; choose another data_dir.'
  if (/could not look up effective user ID/.test(text)) {
    return 'the uid 65534 is not in /etc/passwd, and PostgreSQL does not run as root; start as an ordinary user.'
  }
  if (/spawn .* ENOENT/.test(text)) {
    return 'its binaries need glibc, which this system lacks; set DATABASE_URL.'
  }
  if (/lock file "postmaster\.pid" already exists|pre-existing shared memory block/.test(text)) {
    return 'a server holds it but does not answer; end the process named in its data/postmaster.pid, then start again.'
  }
  const last = text
    .split('\n')
    .findLast(line => /FATAL|PANIC|error/i.test(line))
    ?.replace(/^.*?(FATAL|PANIC|error): */i, '')
  return `${last ?? 'it gave no reason'}; see ${folder}/server.log, or set DATABASE_URL.`
}
