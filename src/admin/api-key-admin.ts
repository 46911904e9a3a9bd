// ApiKeyAdmin: one handler a method, each a mutation or query of the frame in command.ts.
import type { ApiKeyContext } from './api-key-context.ts'
import {
  deleteApiKey,
  expireApiKey,
  extendKeyRotation,
  finishKeyRotation,
  resumeApiKey,
  suspendApiKey,
  undeleteApiKey,
} from './change-api-key-state.ts'
import { mutation, query, unimplemented } from './command.ts'
import { createApiKey } from './create-api-key.ts'
import { importApiKeys } from './import-api-keys.ts'
import { getApiKey, listApiKeys } from './read-api-keys.ts'
import { revokeApiKey } from './revoke-api-key.ts'
import { rotateApiKey } from './rotate-api-key.ts'
import { updateApiKey } from './update-api-key.ts'

/** The handlers of the service, by method. */
export function apiKeyAdmin(context: ApiKeyContext) {
  return {
    createApiKey: mutation(context, createApiKey(context)),
    getApiKey: query(context, getApiKey(context)),
    listApiKeys: query(context, listApiKeys(context)),
    updateApiKey: mutation(context, updateApiKey(context)),
    rotateApiKey: mutation(context, rotateApiKey(context)),
    finishRotation: mutation(context, finishKeyRotation(context)),
    extendRotation: mutation(context, extendKeyRotation(context)),
    suspendApiKey: mutation(context, suspendApiKey(context)),
    resumeApiKey: mutation(context, resumeApiKey(context)),
    expireApiKey: mutation(context, expireApiKey(context)),
    revokeApiKey: mutation(context, revokeApiKey(context)),
    deleteApiKey: mutation(context, deleteApiKey(context)),
    undeleteApiKey: mutation(context, undeleteApiKey(context)),
    batchRevokeApiKeys: unimplemented(context, 'ApiKeyAdmin/BatchRevokeApiKeys'),
    lookupApiKey: unimplemented(context, 'ApiKeyAdmin/LookupApiKey'),
    importApiKeys: importApiKeys(context),
  }
}
