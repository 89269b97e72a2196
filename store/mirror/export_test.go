package mirror

const BatchSize = batchSize
