package image

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programDirs are searched for host programs, whatever the caller's PATH is.
var programDirs = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// closure gives the paths of a host program and of the shared libraries that it loads.
func closure(program string) ([]string, error) {
	p, err := find(program)
	if err != nil {
		return nil, err
	}
	libs, err := libraries(p)
	return append([]string{p}, libs...), err
}

// libraries gives the paths of the shared libraries that a file loads.
func libraries(p string) ([]string, error) {
	cmd := exec.Command("ldd", p)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		if bytes.Contains(out, []byte("not a dynamic executable")) || bytes.Contains(out, []byte("statically linked")) {
			return nil, nil
		}
		return nil, fmt.Errorf("libraries of %s: ldd: %w: %s", p, err, bytes.TrimSpace(out))
	}
	libs, err := parseLdd(string(out))
	if err != nil {
		return nil, fmt.Errorf("libraries of %s: %w", p, err)
	}
	return libs, nil
}

func find(program string) (string, error) {
	for _, d := range programDirs {
		p := filepath.Join(d, program)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("program %s is on this machine in none of %s: install the package that has it",
		program, strings.Join(programDirs, ", "))
}

// parseLdd reads the absolute paths from ldd's output. Its lines are
// "name => /path (0x…)", "/path (0x…)" for the loader, and the kernel's vdso without a
// path; a library that is "not found" is an error.
func parseLdd(out string) ([]string, error) {
	var libs []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] == "statically":
		case len(f) >= 3 && f[1] == "=>" && f[2] == "not":
			return nil, errors.New("the shared library " + f[0] + " is missing")
		case len(f) >= 3 && f[1] == "=>" && strings.HasPrefix(f[2], "/"):
			libs = append(libs, f[2])
		case strings.HasPrefix(f[0], "/"):
			libs = append(libs, f[0])
		}
	}
	return libs, nil
}
