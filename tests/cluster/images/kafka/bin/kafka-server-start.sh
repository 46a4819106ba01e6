#!/bin/bash
exec java $KAFKA_HEAP_OPTS $KAFKA_LOG4J_OPTS -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError \
    -cp '/opt/kafka/libs/*' kafka.Kafka "$@"
