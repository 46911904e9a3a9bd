// UsageAdmin: counters, single requests and their export.
import type { ApiKeyContext } from './api-key-context.ts'
import { exportUsageLogs } from './export-usage-logs.ts'
import { listUsageLogs } from './list-usage-logs.ts'
import { usageQuestion } from './usage-call.ts'
import { getUsageMetrics } from './usage-metrics.ts'

/** The handlers of the service, by method. */
export function usageAdmin(context: ApiKeyContext) {
  return {
    getUsageMetrics: usageQuestion(context, getUsageMetrics(context)),
    listUsageLogs: usageQuestion(context, listUsageLogs(context)),
    exportUsageLogs: exportUsageLogs(context),
  }
}
