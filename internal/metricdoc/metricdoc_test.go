package metricdoc

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumentIsCurrent: docs/metrics.md is what the code says.
func TestDocumentIsCurrent(t *testing.T) {
	var b strings.Builder
	if err := Write(&b); err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile("../../docs/metrics.md")
	if err != nil || string(is) != b.String() {
		t.Errorf("docs/metrics.md is not current (%v); run: make generate", err)
	}
}

// TestMetrics: names are of one form, each is said once and explained.
func TestMetrics(t *testing.T) {
	form := regexp.MustCompile(`^sdntunnel_[a-z_]+$`)
	var names []string
	for program, metrics := range Programs() {
		if len(metrics) < 8 {
			t.Errorf("%s has only %d metrics", program, len(metrics))
		}
		for _, m := range metrics {
			if !form.MatchString(m.Name) || !strings.HasSuffix(m.Help, ".") || (m.Type == "counter") != strings.HasSuffix(m.Name, "_total") {
				t.Errorf("%s: %s %q", m.Type, m.Name, m.Help)
			}
			if slices.Contains(names, m.Name) {
				t.Errorf("%s is there twice", m.Name)
			}
			names = append(names, m.Name)
		}
	}
}
