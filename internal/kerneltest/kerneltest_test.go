package kerneltest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
)

// TestKernelHasAll is the tier's own: every module that tests may ask for is there.
func TestKernelHasAll(t *testing.T) {
	kerneltest.Need(t, kerneltest.Modules...)
	for _, m := range kerneltest.Modules {
		if _, err := os.Stat(filepath.Join("/sys/module", m)); err != nil {
			t.Errorf("module %s was loaded but is not there: %v", m, err)
		}
	}
}
