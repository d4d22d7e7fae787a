package module

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/runlock"
)

// Call is what Ansible says about a call besides the module's own arguments.
type Call struct {
	// Check: nothing may be changed; say what would be.
	Check bool
	// Diff: the user wants to see differences.
	Diff bool
	// Verbosity is how many -v there are.
	Verbosity int
}

// Diff is one difference, as text.
type Diff struct {
	Before       string `json:"before"`
	After        string `json:"after"`
	BeforeHeader string `json:"before_header,omitempty"`
	AfterHeader  string `json:"after_header,omitempty"`
}

// Result is what a module has to say.
type Result struct {
	Changed  bool
	Msg      string
	Warnings []string
	// Diff is shown only if the call asks for it.
	Diff []Diff
	// Facts become variables of the host.
	Facts map[string]any
	// Data are the module's own return values.
	Data map[string]any
}

// Validator is implemented by arguments with rules that tags cannot say.
type Validator interface {
	// Validate returns every problem at once (errors.Join), each with its path.
	Validate() error
}

// Func is a module: it gets decoded arguments.
type Func[A any] func(ctx context.Context, call Call, args A) (Result, error)

// Main runs a module on argv (without the program's name) and returns the exit code.
func Main[A any](run Func[A], argv []string, stdout io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, run, argv, stdout)
}

// Run is Main with the caller's context.
func Run[A any](ctx context.Context, run Func[A], argv []string, stdout io.Writer) int {
	call, result, err := guarded(ctx, run, argv)
	out := encode(call, result, err)
	if _, werr := stdout.Write(append(out, '\n')); werr != nil || err != nil {
		return 1
	}
	return 0
}

// guarded turns a panic into an error.
func guarded[A any](ctx context.Context, run Func[A], argv []string) (call Call, result Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", p, debug.Stack())
			err = errors.New("internal error of the module (its stack is on standard error); please report it")
		}
	}()
	if len(argv) != 1 {
		return call, result, errors.New("this is an Ansible module: it wants one argument, the file with its arguments as JSON")
	}
	raw, err := os.ReadFile(argv[0])
	if err != nil {
		return call, result, fmt.Errorf("read the module's arguments: %w", err)
	}
	var args A
	if call, err = Decode(raw, &args); err != nil {
		return call, result, err
	}
	ctx, done, err := runlock.Guard(ctx)
	if err != nil {
		return call, result, err
	}
	result, err = run(ctx, call, args)
	return call, result, done(err)
}

// encode makes the JSON object; protocol keys win over a module's data.
func encode(call Call, r Result, err error) []byte {
	out := map[string]any{}
	maps.Copy(out, r.Data)
	out["changed"] = r.Changed
	if r.Msg != "" {
		out["msg"] = r.Msg
	}
	if len(r.Warnings) > 0 {
		out["warnings"] = r.Warnings
	}
	if call.Diff && len(r.Diff) > 0 {
		out["diff"] = r.Diff
	}
	if len(r.Facts) > 0 {
		out["ansible_facts"] = r.Facts
	}
	if err != nil {
		out["failed"] = true
		out["msg"] = strings.TrimSpace(err.Error())
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if eerr := enc.Encode(out); eerr != nil {
		raw, _ := json.Marshal(map[string]any{"failed": true, "changed": r.Changed,
			"msg": "encode the module's result: " + eerr.Error()})
		return raw
	}
	return bytes.TrimSpace(buf.Bytes())
}
