package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// planFormat is the version of the file; another one is not read.
const planFormat = 1

// planFile keeps the last plan on the node, so that an agent that starts while the
// API is down goes on with it. It holds public keys only.
type planFile struct{ path string }

type savedPlan struct {
	Format int            `json:"format"`
	Plan   mesh.DataPlane `json:"plan"`
}

// load returns the plan that was saved for self; an error wraps fs.ErrNotExist when
// there is none.
func (f planFile) load(self mesh.Ref) (mesh.DataPlane, error) {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return mesh.DataPlane{}, fmt.Errorf("read the saved plan: %w", err)
	}
	plan, err := f.parse(content)
	if err == nil && plan.Self != self {
		return mesh.DataPlane{}, fmt.Errorf("the saved plan %s is of %s, this node is %s", f.path, plan.Self, self)
	}
	return plan, err
}

func (f planFile) parse(content []byte) (mesh.DataPlane, error) {
	var s savedPlan
	if err := json.Unmarshal(content, &s); err != nil {
		return mesh.DataPlane{}, fmt.Errorf("read the saved plan %s: %w", f.path, err)
	}
	if s.Format != planFormat {
		return mesh.DataPlane{}, fmt.Errorf("the saved plan %s has format %d, this agent reads %d", f.path, s.Format, planFormat)
	}
	return s.Plan, nil
}

// save replaces the file as a whole, so that a crash leaves the old or the new one.
func (f planFile) save(dp mesh.DataPlane) error {
	content, err := json.MarshalIndent(savedPlan{Format: planFormat, Plan: dp}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(f.path), ".plan-*") // mode 0600
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	defer os.Remove(temporary.Name()) // gone after the rename
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return fmt.Errorf("save the plan in %s: %w", temporary.Name(), err)
	}
	if err := os.Rename(temporary.Name(), f.path); err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	return nil
}

// ReadPlan gives the plan that the agent of this node saved last.
func ReadPlan(stateDir string) (mesh.DataPlane, error) {
	f := planFile{planPath(stateDir)}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return mesh.DataPlane{}, fmt.Errorf("read the saved plan: %w", err)
	}
	return f.parse(content)
}
