package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestDeploys: what is written of deploys is read again, shown by stage and held against
// what is wanted of them.
func TestDeploys(t *testing.T) {
	var text bytes.Buffer
	for clusters, seconds := range map[int]time.Duration{1: 4, 2: 9, 4: 21} {
		stages := []Stage{{"Start", time.Second}, {"Peer access", 300 * time.Millisecond}, {"Verification", (seconds - 3) * time.Second}}
		deploy := Deploy{Clusters: clusters, Run: "second", Took: seconds * time.Second, CPU: 1200 * time.Millisecond, Stages: stages}
		if _, err := deploy.WriteTo(&text); err != nil {
			t.Fatal(err)
		}
	}
	results, err := Parse(&text)
	if err != nil || len(results) != 3 {
		t.Fatalf("%v: %+v", err, results)
	}
	two := secondDeploy(results, 2)
	if two == nil || two.Values["ns/op"] != 9e9 || two.Values["s-Peer_access"] != 0.3 {
		t.Fatalf("two clusters: %+v", two)
	}
	var shown bytes.Buffer
	if err := New("v1", Machine{}, results).Print(&shown); err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(shown.String()) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, want := range []string{
		"DEPLOY SECONDS OWN CPU Verification Start",
		"clusters=2/run=second 9.0 1.2 6.0 1.0",
		"second deploy of two clusters at most 15 s 9.0 s met",
		"second deploy of four clusters, without the matrix at most 1.5 times that of one 1.00 met",
	} {
		if !lines[want] {
			t.Errorf("the report lacks %q:\n%s", want, shown.String())
		}
	}
}
