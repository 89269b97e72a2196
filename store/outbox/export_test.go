package outbox

import (
	"cmp"
	"time"
)

// Timing has the durations that have no options.
type Timing struct {
	MinWait, MaxWait         time.Duration
	Schedule                 []time.Duration
	StopTimeout, Maintenance time.Duration
}

// SetTiming replaces the durations.
func (opts *Options) SetTiming(t Timing) {
	opts.timing = timing{t.MinWait, cmp.Or(t.MaxWait, 5*time.Minute), t.Schedule, t.StopTimeout, t.Maintenance}
}
