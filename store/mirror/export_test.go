package mirror

import "time"

const BatchSize = batchSize

// SetQuietInterval makes Run save brands without changes more often.
func (m *Mirror) SetQuietInterval(d time.Duration) { m.quietInterval = d }
