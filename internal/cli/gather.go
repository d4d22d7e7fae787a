package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/gather"
)

func gatherCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "gather", Usage: "pack logs, objects and each node's state into one archive, without secrets",
		Description: `   sdn-tunnel gather -i inventory
   sdn-tunnel gather -i inventory --since 1h -o fault.tar.gz

It takes what is known to be no secret, and reads no Secret. It runs the agents' dump in
their pods, and changes nothing. Exit code 0: all is in it; 1: something is missing, which
is said; 2: no cluster could be read.`,
		Flags: append(inventoryFlags(), timeoutFlag(),
			&ucli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the archive; by default a new file in this folder"},
			&ucli.DurationFlag{Name: "since", Usage: "how far back logs go; 0: as far as there are any", Value: 24 * time.Hour}),
		Action: func(c *ucli.Context) error { return runGather(c, files) },
	}
}

func runGather(c *ucli.Context, files fs.FS) (err error) {
	path := c.String("output")
	if path == "" {
		path = time.Now().UTC().Format("sdn-tunnel-gather-20060102-150405.tar.gz")
	}
	// First of all: nobody is to wait for what cannot be written.
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	options, done, err := statusOptions(c, files)
	if err != nil {
		return codeError{errors.Join(err, file.Close(), os.Remove(path)), ExitBlind}
	}
	defer done()
	missing, err := gather.Run(c.Context, gather.Options{Options: options, Since: c.Duration("since"), Progress: gatherProgress(c)}, file)
	err = errors.Join(err, file.Close())
	for _, m := range missing {
		fmt.Fprintln(c.App.ErrWriter, "missing:", m)
	}
	switch {
	case errors.Is(err, gather.ErrNothing):
		return codeError{errors.Join(err, os.Remove(path)), ExitBlind}
	case err != nil:
		return errors.Join(err, os.Remove(path)) // half an archive helps nobody
	}
	fmt.Fprintln(c.App.Writer, path)
	if len(missing) > 0 {
		return codeError{fmt.Errorf("%d things are missing in %s", len(missing), path), ExitFailed}
	}
	return nil
}

// gatherProgress says what is gathered, apart from the result.
func gatherProgress(c *ucli.Context) func(string, string) {
	var mu sync.Mutex
	start := time.Now()
	return func(cluster, what string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(c.App.ErrWriter, "%5.1f s  %-10s %s\n", time.Since(start).Seconds(), cluster, what)
	}
}
