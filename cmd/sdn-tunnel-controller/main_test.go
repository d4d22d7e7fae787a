package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestReadAnnotations(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want map[string]string
		bad  bool
	}{
		"empty":     {"", nil, false},
		"empty map": {"{}\n", nil, false},
		"some":      {"metallb.universe.tf/address-pool: tunnels\n", map[string]string{"metallb.universe.tf/address-pool": "tunnels"}, false},
		"a list":    {"- a\n", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "a.yaml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readAnnotations(file)
			if !maps.Equal(got, tt.want) || (err != nil) != tt.bad {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for _, none := range []string{"", filepath.Join(t.TempDir(), "missing")} {
		if got, err := readAnnotations(none); got != nil || err != nil {
			t.Errorf("%q: got %v, %v", none, got, err)
		}
	}
}
