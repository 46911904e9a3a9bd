// Runs work of the YAML library without stack traces: each fault of a text is an Error to it, and nine tenths of the time and
// most of the memory of a text full of faults went into traces that nobody reads.

/** Runs the work, which must be synchronous; gives back its value, and the setting as it was. */
export function withoutStackTraces<Value>(work: () => Value): Value {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return work()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}
