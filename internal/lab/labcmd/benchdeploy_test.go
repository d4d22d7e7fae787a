package labcmd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/bench"
)

// TestReadStages: each play is a stage, and so is what was before the first; the summary
// and what comes after it are none.
func TestReadStages(t *testing.T) {
	began := time.Now()
	clock := began
	now := func() time.Time { clock = clock.Add(time.Second); return clock }
	const said = "== Members\n   east  ok\n== Facts\n== changed 0, failed 0\ndeploy done in 3 s\n"
	stages, text := readStages(strings.NewReader(said), began, now)
	want := []bench.Stage{{Name: "Start", Took: time.Second}, {Name: "Members", Took: time.Second}, {Name: "Facts", Took: time.Second}}
	if !slices.Equal(stages, want) || text != said {
		t.Errorf("stages %v of\n%s\nwant %v", stages, text, want)
	}
}
