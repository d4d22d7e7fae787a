package nodetrace

import (
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
)

// seen is a look at the bridge.
type seen struct {
	view   diagnose.SwitchView
	traces []diagnose.TraceView
}

func TestAPacketIsBelievedToGoAstrayWhenItDoesSoAgainAndAgain(t *testing.T) {
	astray := func(table int) seen { return seen{traces: []diagnose.TraceView{{Table: table}}} }
	well := seen{traces: []diagnose.TraceView{{Arrives: true}}}
	gone := astray(101)
	gone.view.Error = "sdntun1 is no port of br0"
	missing := astray(101)
	missing.view.Missing = []string{"table=30"}
	for _, c := range []struct {
		name  string
		looks []seen // the last one stays
		want  seen
		took  int
	}{
		{"all is well", []seen{well}, well, 1},
		{"no packet is followed", []seen{{}}, seen{}, 1},
		{"it goes astray", []seen{astray(30)}, astray(30), confirmed},
		{"the port was away at the second look", []seen{astray(101), gone, well}, gone, 2},
		{"flows were away at the third look", []seen{astray(101), astray(101), missing, well}, missing, 3},
		{"it went astray for a moment", []seen{astray(101), well}, well, 2},
		{"it goes another way each time, then the same", []seen{astray(101), astray(30), astray(30), astray(30)}, astray(30), 4},
		{"it never goes the same way", []seen{astray(1), astray(2), astray(3), astray(4), astray(5), astray(6)}, astray(6), mostLooks},
	} {
		t.Run(c.name, func(t *testing.T) {
			took := 0
			view, traces := settled(func() (diagnose.SwitchView, []diagnose.TraceView) {
				s := c.looks[min(took, len(c.looks)-1)]
				took++
				return s.view, s.traces
			}, func() bool { return true })
			if took != c.took || view.Error != c.want.view.Error || len(view.Missing) != len(c.want.view.Missing) || !sameWay(traces, c.want.traces) {
				t.Errorf("after %d looks %+v %+v, want %+v after %d", took, view, traces, c.want, c.took)
			}
		})
	}
	looks := 0
	settled(func() (diagnose.SwitchView, []diagnose.TraceView) { looks++; return astray(1).view, astray(1).traces }, func() bool { return false })
	if looks != 1 {
		t.Errorf("%d looks after the time was over, want 1", looks)
	}
}
