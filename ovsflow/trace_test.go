package ovsflow

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestParseTrace reads what a real switch printed: a pod's packet to a remote one, a reply
// to the pod, and a packet with an address that is not the pod's.
func TestParseTrace(t *testing.T) {
	for _, tt := range []struct {
		file, last string
		steps      int
		outputs    []string
		table      int
		ours       bool
	}{
		{"trace-out.txt", "ip,nw_src=10.128.0.0/23,nw_dst=10.132.0.0/14, priority 350, cookie 0x73646e74756e0001", 5, []string{"6"}, 30, true},
		{"trace-in.txt", "ct_state=+rpl,ip, priority 200", 6, []string{"10"}, 80, false},
		{"trace-drop.txt", "priority 0", 3, nil, 20, false},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseTrace(string(text))
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
			continue
		}
		if last := got.Last(); last != (Step{tt.table, tt.last, tt.ours}) || len(got.Steps) != tt.steps || !slices.Equal(got.Outputs, tt.outputs) {
			t.Errorf("%s: %+v", tt.file, got)
		}
		if got.Leaves(6) != slices.Contains(tt.outputs, "6") {
			t.Errorf("%s: leaves by port 6: %v", tt.file, got.Leaves(6))
		}
	}
	if _, err := ParseTrace("ovs-vswitchd: unknown bridge"); err == nil {
		t.Error("what is no trace is read as one")
	}
}

func FuzzParseTrace(f *testing.F) {
	for _, name := range []string{"trace-out.txt", "trace-in.txt", "trace-drop.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTrace(text)
		if err != nil {
			return
		}
		if last := got.Last(); last.Table < 0 || last.Table > 254 || last.Flow == "" {
			t.Errorf("read as %+v", last)
		}
	})
}
