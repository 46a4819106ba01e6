#!/bin/bash
exec java $KAFKA_HEAP_OPTS $KAFKA_LOG4J_OPTS -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' kafka.tools.StorageTool "$@"
