package kuberouter

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHealth: what counts as a failure, who is told, and when a run is ended.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, kicked := 0, 0
		h := newHealth("west", func() { told++ })
		expect := func(what string, failing string, wantTold, wantKicked int) {
			t.Helper()
			err := h.status().failure()
			if (err == nil) != (failing == "") || err != nil && !strings.Contains(err.Error(), failing) || told != wantTold || kicked != wantKicked {
				t.Errorf("%s: failing %v, told %d times, kicked %d times", what, err, told, kicked)
			}
		}
		h.started(func() { kicked++ })
		h.compared(false, 100, nil)
		expect("at first", "", 0, 0)
		time.Sleep(3 * time.Second)
		h.compared(true, 100, nil)
		expect("serving", "", 1, 0)
		if s := h.status(); !s.Serving || s.Behind != 0 || s.Sync != 3*time.Second || s.Services != 100 || s.Restarts != 0 {
			t.Errorf("%+v", s)
		}
		h.ended(errors.New("killed"))
		h.compared(true, 100, nil)
		expect("killed once", "", 1, 0)
		h.started(func() { kicked++ })
		h.ended(errors.New("no ip_vs"))
		expect("again", "of west ends again and again: no ip_vs", 2, 0)
		h.started(func() { kicked++ })
		h.compared(true, 100, nil)
		expect("not settled yet", "again and again", 2, 0)
		time.Sleep(settled + time.Second)
		h.compared(true, 100, nil)
		expect("settled", "", 3, 0)
		h.compared(false, 100, nil)
		time.Sleep(grace)
		h.compared(false, 100, nil)
		expect("100 services take their time", "", 3, 0)
		time.Sleep(6 * time.Second)
		h.compared(false, 100, errors.New("cannot be read"))
		expect("behind", "for 26s IPVS has not been what the member's 100 services and ports need: cannot be read", 4, 1)
		h.compared(false, 100, nil)
		expect("once is enough", "for 26s", 4, 1)
		h.ended(errBehind)
		h.started(func() { kicked++ })
		h.compared(true, 100, nil)
		expect("up to date", "", 5, 1)
		if s := h.status(); s.Restarts != 3 {
			t.Errorf("%d restarts, want 3", s.Restarts)
		}
	})
}
