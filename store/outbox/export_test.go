package outbox

import "time"

// Timing has the durations that have no options.
type Timing struct {
	MinWait                              time.Duration
	Schedule                             []time.Duration
	StopTimeout, Maintenance, Checkpoint time.Duration
}

// SetTiming replaces the durations.
func (opts *Options) SetTiming(t Timing) {
	opts.timing = timing{t.MinWait, t.Schedule, t.StopTimeout, t.Maintenance, t.Checkpoint}
}
