package kuberouter

import (
	"sync"
	"time"
)

// Status is how one member's kube-router fares.
type Status struct {
	Member  string
	Running bool
	// Serving: IPVS was as wanted at least once since this process began.
	Serving bool
	// Behind is how long IPVS has differed from what it should be; 0: it does not.
	Behind time.Duration
	// Services is how many services the member has here, once for each port.
	Services int
	// Restarts is how often it was started again, Failed how often in a row of late, and
	// Fault why it last ended.
	Restarts, Failed int
	Fault            string
	// Sync is how long the last change took from here to the kernel.
	Sync time.Duration
}

// health gathers a Status, and calls notify when the verdict on it changes.
type health struct {
	member string
	notify func()

	mu       sync.Mutex
	running  bool
	starts   int
	began    time.Time // the run
	failed   int
	fault    error
	behind   time.Time // since when IPVS differs; zero: it does not
	kicked   time.Time // when a run was last ended for that
	served   bool
	services int
	took     time.Duration
	kick     func()
	verdict  string
}

func newHealth(member string, notify func()) *health {
	return &health{member: member, notify: notify, behind: time.Now()}
}

// status tells how things are now.
func (h *health) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now()
}

func (h *health) now() Status {
	s := Status{
		Member: h.member, Running: h.running, Serving: h.served, Services: h.services,
		Restarts: max(h.starts-1, 0), Failed: h.failed, Sync: h.took,
	}
	if !h.behind.IsZero() {
		s.Behind = max(time.Since(h.behind), 1)
	}
	if h.fault != nil {
		s.Fault = h.fault.Error()
	}
	return s
}

// started notes that a run has begun, and how to end it.
func (h *health) started(kick func()) {
	h.change(func() {
		h.running, h.began, h.kick = true, time.Now(), kick
		h.starts++
	})
}

// ended notes that a run has ended without being told to.
func (h *health) ended(err error) {
	h.change(func() {
		h.running, h.kick, h.fault = false, nil, err
		h.failed++
	})
}

// compared notes what a look at IPVS found. A run that leaves IPVS as it should not be for
// too long is ended.
func (h *health) compared(equal bool, services int, err error) {
	h.change(func() {
		now := time.Now()
		h.services = services
		switch {
		case equal && !h.behind.IsZero():
			h.took, h.behind, h.served = now.Sub(h.behind), time.Time{}, true
		case !equal && h.behind.IsZero():
			h.behind = now
		}
		if err != nil {
			h.fault = err
		}
		if equal && h.running && now.Sub(h.began) > settled {
			h.failed, h.fault = 0, nil
		}
		if s := h.now(); h.kick != nil && s.Failed <= 1 && s.failure() != nil && now.Sub(h.began) > grace && now.Sub(h.kicked) > longestPause {
			h.kick()
			h.kick, h.kicked = nil, now
		}
	})
}

// change notifies if do changes whether and why the member is not served.
func (h *health) change(do func()) {
	h.mu.Lock()
	do()
	s, verdict := h.now(), ""
	if s.Serving {
		verdict = "serving"
	}
	if s.failure() != nil {
		verdict += " failing"
	}
	turned := verdict != h.verdict
	h.verdict = verdict
	h.mu.Unlock()
	if turned {
		h.notify()
	}
}
