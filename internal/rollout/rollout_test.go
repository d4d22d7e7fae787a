package rollout

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     Order
	}{
		{"r/agent:v1.2.0", "r/agent:v1.2.0", Same},
		{"r/agent:v1.2.0", "r/agent:v1.2.1", Newer},
		{"r/agent:v1.2.9", "r/agent:v1.3.0", Newer},
		{"r/agent:v1.2.0-rc.1", "r/agent:v1.2.0", Newer},
		{"r/agent:v1.2.0", "mirror:5000/agent:v1.2.0", Same},
		{"r/agent:v1.2.0", "r/agent:v1.1.9", Older},
		{"r/agent:v1.2.0", "r/agent:v1.4.0", TooNew},
		{"r/agent:v1.2.0", "r/agent:v2.0.0", TooNew},
		{"r/agent:dev", "r/agent:v1.2.0", NotSaid},
		{"r/agent:v1.2.0", "r/agent", NotSaid},
		{"r/agent:v1.2.0", "r/agent@sha256:" + strings.Repeat("a", 64), NotSaid},
		{"r/agent:v1.2.0", "not an image", NotSaid},
	} {
		if got := Compare(tt.from, tt.to); got != tt.want {
			t.Errorf("%s -> %s: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

// TestCheck: what is refused names cluster, program, versions and remedy, all of it at once.
func TestCheck(t *testing.T) {
	steps := []Step{
		{"east", "agent", "a:v1.2.0", "a:v1.1.0"},
		{"west", "controller", "c:v1.2.0", "c:v1.5.0"},
		{"west", "agent", "a:dev", "a:other"},
	}
	warnings, err := Check(steps, false)
	if err == nil || len(warnings) != 1 || !strings.Contains(warnings[0], "cluster west: agent: a:dev -> a:other") {
		t.Fatalf("%v, %v", warnings, err)
	}
	for _, want := range []string{"cluster east: agent: a:v1.2.0 -> a:v1.1.0", "--rollback", "cluster west: controller", "the one between", "nothing was changed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if _, err := Check(steps[:1], true); err != nil {
		t.Errorf("a downgrade that is allowed: %v", err)
	}
}

func TestBatches(t *testing.T) {
	five := []string{"a", "b", "c", "d", "e"}
	for _, tt := range []struct {
		nodes  []string
		size   string
		canary bool
		want   [][]string
	}{
		{nil, "25%", true, nil},
		{five[:1], "25%", true, [][]string{{"a"}}},
		{five[:2], "1", true, [][]string{{"a"}, {"b"}}},
		{five, "2", false, [][]string{{"a", "b"}, {"c", "d"}, {"e"}}},
		{five, "2", true, [][]string{{"a"}, {"b", "c"}, {"d", "e"}}},
		{five, "50%", true, [][]string{{"a"}, {"b", "c", "d"}, {"e"}}},
		{five, "1%", false, [][]string{{"a"}, {"b"}, {"c"}, {"d"}, {"e"}}},
		{five, "100", true, [][]string{{"a"}, {"b", "c", "d", "e"}}},
	} {
		got, err := Batches(tt.nodes, tt.size, tt.canary)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%v by %s: %v\n%s", tt.nodes, tt.size, err, diff)
		}
	}
	for _, size := range []string{"0", "-1", "0%", "many", ""} {
		if got, err := Batches(five, size, false); err == nil || !strings.Contains(err.Error(), "25%") {
			t.Errorf("batches of %q: %v, %v", size, got, err)
		}
	}
}

// TestWorse: what was wrong before may stay, in other words too; anything else is named.
func TestWorse(t *testing.T) {
	problem := func(object, message string) meshstatus.Problem {
		return meshstatus.Problem{Object: object, Message: message}
	}
	before := meshstatus.Report{Clusters: []meshstatus.Cluster{
		{Name: "east", Problems: []meshstatus.Problem{problem("TunnelNode east.a", "1 peer is stale"), problem("TunnelNode east.a", "x")}},
		{Name: "west"},
		{Name: "north", Error: "no answer"},
	}}
	known := Known(before)
	if diff := cmp.Diff([]string{"east: TunnelNode east.a", "north: its API"}, known); diff != "" {
		t.Error(diff)
	}
	if worse := Worse(known, before); len(worse) > 0 {
		t.Errorf("the same is worse: %v", worse)
	}
	before.Clusters[0].Problems[0].Message = "2 peers are stale"
	before.Clusters[0].Problems = append(before.Clusters[0].Problems, problem("TunnelNode east.b", "its agent is gone"))
	before.Clusters[1].Error = "cluster west: no answer"
	want := []string{"cluster east: TunnelNode east.b: its agent is gone", "cluster west: no answer"}
	if diff := cmp.Diff(want, Worse(known, before)); diff != "" {
		t.Error(diff)
	}
}
