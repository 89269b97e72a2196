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
	// Probe is MinWait if it is 0.
	Probe time.Duration
}

// SetTiming replaces the durations.
func (opts *Options) SetTiming(t Timing) {
	opts.timing = timing{
		minWait: t.MinWait, maxWait: cmp.Or(t.MaxWait, 5*time.Minute), schedule: t.Schedule,
		stopTimeout: t.StopTimeout, maintenance: t.Maintenance, probe: cmp.Or(t.Probe, t.MinWait),
	}
}
