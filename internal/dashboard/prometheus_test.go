package dashboard

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrometheus: what a Prometheus says is understood. The answers are those of one.
func TestPrometheus(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		file := map[string]string{"/api/v1/query_range": "range.json", "/api/v1/rules": "rules.json"}[r.URL.Path]
		if r.FormValue("query") == "sum(" {
			w.WriteHeader(http.StatusBadRequest)
			file = "refused.json"
		}
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	}))
	defer server.Close()
	p, err := NewPrometheus(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := p.Range(t.Context(), "up", window)
	if err != nil || len(samples) != 2 || samples[0].Labels["instance"] != "east-1" || len(samples[0].Points) != 3 ||
		samples[1].Points[0].Value != 0.25 || samples[0].Points[0].Time.Unix() != 1792929600 {
		t.Errorf("got %+v, %v", samples, err)
	}
	rules, err := p.Rules(t.Context())
	if err != nil || len(rules) != 3 || rules[0].State != "" || !rules[0].Evaluated || rules[1].State != Firing ||
		len(rules[1].Alerts) != 1 || !strings.HasPrefix(rules[1].Alerts[0].Summary, "From east-1") || rules[2].Evaluated || rules[2].Problem != "many-to-many" {
		t.Errorf("got %+v, %v", rules, err)
	}
	if _, err := p.Range(t.Context(), "sum(", window); err == nil || !strings.Contains(err.Error(), "unclosed left parenthesis") {
		t.Errorf("a query that is refused: %v", err)
	}
}
