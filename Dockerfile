# syntax=docker/dockerfile:1
# Gatewarden as an image: built in one stage, run in another without shell or package manager, as user 65532.
# The embedded database of `serve` needs a writable data directory: mount one at /data. The rest of the tree may be read-only.

FROM node:22-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY src ./src
# Makes the links between the libraries of the embedded database, too: later the tree is read-only.
RUN npm run build \
 && npm prune --omit=dev --ignore-scripts \
 && node -e "import('/build/dist/src/store/embedded-binaries.js').then(module => module.embeddedBinaries())" \
 && mkdir -p /data /run/gatewarden

FROM gcr.io/distroless/nodejs22-debian12:nonroot
LABEL org.opencontainers.image.title="gatewarden" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
COPY --from=build --chown=0:0 /build/package.json ./
COPY --from=build --chown=0:0 /build/node_modules ./node_modules
COPY --from=build --chown=0:0 /build/dist ./dist
# Migrations are read as SQL files beside the code.
COPY --chown=0:0 src/store/migrations ./src/store/migrations
COPY --chown=0:0 profiles ./profiles
COPY --chown=0:0 LICENSE ./
# A named volume takes owner and mode of the directory it covers: the sockets are made by 65532.
COPY --from=build --chown=65532:65532 /data /data
COPY --from=build --chown=65532:65532 /run/gatewarden /run/gatewarden
USER 65532:65532
ENV NODE_ENV=production \
    GATEWARDEN_DATA_DIR=/data
VOLUME ["/data"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/nodejs/bin/node", "--disable-proto=delete", "/app/dist/src/bin/gatewarden.js"]
CMD ["serve"]
