# syntax=docker/dockerfile:1
# A small image: native kernels and jars built in the first stage, a cut-down Java runtime beside them in the second.
FROM debian:13-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl gcc libc6-dev make openjdk-25-jdk-headless \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.m2 ./mvnw -B -ntp -DskipTests package
# java.management, jdk.management: memory limits. jdk.unsupported: the tokenizer's JNI helper. jdk.crypto.ec: bench over https.
RUN "$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")/bin/jlink" --output /out/runtime --strip-debug --no-header-files --no-man-pages --compress zip-6 \
      --add-modules java.base,java.compiler,java.desktop,java.logging,java.management,java.naming,java.net.http,java.sql,java.xml,jdk.management,jdk.unsupported,jdk.crypto.ec,jdk.zipfs \
 && mkdir -p /out/lib && cp server/target/millrace/lib/*.jar /out/lib/ && cp millrace /out/ && cp -r server/demo-model /out/demo-model

FROM debian:13-slim
# libstdc++ and libgcc serve the tokenizer's native library; bash runs the launcher.
RUN apt-get update && apt-get install -y --no-install-recommends bash libstdc++6 libgcc-s1 libgomp1 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/millrace --uid 10001 millrace
COPY --from=build /out /opt/millrace
# The start-up cache is written and the native libraries are unpacked once, while the folder is still writable: the container may then run
# with a read-only root.
ENV XDG_CACHE_HOME=/opt/millrace/cache
RUN /opt/millrace/millrace info && chmod -R a+rX /opt/millrace
USER millrace
ENV MILLRACE_HOST=0.0.0.0
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/millrace/millrace"]
CMD ["serve"]
