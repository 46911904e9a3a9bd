// Prints what a repeated command could not print again: where it cannot be written, the command says what is lost and how to
// mend that. A secret goes to standard output or nowhere; it is never part of what is said.
import { CommandFailure, exitOutput, type Io, OutputFailure } from './command.ts'

/** Prints `text`; `lost` says, in whole sentences, what becomes of it otherwise. @throws CommandFailure */
export function deliver(io: Io, text: string, lost: string): void {
  try {
    io.out(text)
  } catch (error) {
    if (!(error instanceof OutputFailure)) throw error
    throw new CommandFailure(`${error.message}. ${lost}`, exitOutput)
  }
}

/** What to do about an API key whose secret nobody has. `name` is the key's resource name. */
export function lostSecretText(name: string): string {
  return [
    'The secret is lost, the key exists.',
    `For another secret: gatewarden keys rotate ${name} --grace 0s`,
    `To end the key: gatewarden keys revoke ${name} --reason superseded`,
  ].join('\n')
}
