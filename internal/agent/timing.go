package agent

import "time"

// Timing holds the loop's clocks. Zero values give the defaults.
type Timing struct {
	// Debounce is how long the loop waits after a notification for more of them.
	Debounce time.Duration
	// Resync is how often everything is applied although nothing was notified.
	Resync time.Duration
	// RetryMin and RetryMax bound the wait before a part that failed is tried again;
	// RetryMin is also the least time between two tries that notifications cause.
	RetryMin, RetryMax time.Duration
	// ApplyTimeout bounds one Apply of one part, so that no part blocks the others.
	ApplyTimeout time.Duration
	// StartWait is how long a new agent waits for the API before it goes on with the
	// plan that an earlier one saved.
	StartWait time.Duration
	// Beat is how often the loop turns at least; Observe how often peers are read:
	// there is no event for a handshake.
	Beat, Observe time.Duration
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		field    *time.Duration
		standard time.Duration
	}{
		{&t.Debounce, 50 * time.Millisecond},
		{&t.Resync, 60 * time.Second},
		{&t.RetryMin, 200 * time.Millisecond},
		{&t.RetryMax, 10 * time.Second},
		{&t.ApplyTimeout, 15 * time.Second},
		{&t.StartWait, 2 * time.Second},
		{&t.Beat, 10 * time.Second},
		{&t.Observe, 10 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.standard
		}
	}
	return t
}
