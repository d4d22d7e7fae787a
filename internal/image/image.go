package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec says what an image holds.
type Spec struct {
	// Ref is the image's name with its tag, e.g. localhost/sdn-tunnel/agent:dev.
	Ref string
	// Files maps absolute paths in the image to files on this machine; their mode is 0755.
	Files map[string]string
	// HostFiles are files of this machine that are put into the image at the same path, with
	// the shared libraries that they load. Patterns as filepath.Match has them; each has to
	// match something.
	HostFiles []string
	// HostPrograms are programs of this machine, looked up in its usual folders and put
	// into the image at the same path, with the shared libraries that they load.
	HostPrograms []string
	// Dirs are made empty, mode 1777 for /tmp and 0755 for others.
	Dirs []string
	// Symlinks maps paths in the image to what they point to.
	Symlinks map[string]string
	// Entrypoint, Env and User are the image's configuration.
	Entrypoint []string
	Env        []string
	User       string
}

// Build makes the image: one layer for what comes from the host, one for Files.
func Build(s Spec) (v1.Image, error) {
	base := newLayer()
	for _, d := range s.Dirs {
		base.dir(d)
	}
	for link, target := range s.Symlinks {
		base.symlink(link, target)
	}
	for _, p := range s.HostPrograms {
		files, err := closure(p)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", s.Ref, err)
		}
		for _, f := range files {
			base.file(f, f)
		}
	}
	for _, pattern := range s.HostFiles {
		if err := base.hostFiles(pattern); err != nil {
			return nil, fmt.Errorf("image %s: %w", s.Ref, err)
		}
	}
	own := newLayer()
	for dst, src := range s.Files {
		own.file(dst, src)
	}
	img := mutate.MediaType(empty.Image, types.DockerManifestSchema2)
	for _, l := range []*layer{base, own} {
		if len(l.entries) == 0 {
			continue
		}
		built, err := l.build()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", s.Ref, err)
		}
		if img, err = mutate.AppendLayers(img, built); err != nil {
			return nil, fmt.Errorf("image %s: %w", s.Ref, err)
		}
	}
	return s.configure(img)
}

func (s Spec) configure(img v1.Image) (v1.Image, error) {
	old, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Ref, err)
	}
	cfg := old.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", runtime.GOARCH
	cfg.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	cfg.Config.Entrypoint, cfg.Config.User = s.Entrypoint, s.User
	cfg.Config.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, s.Env...)
	return mutate.ConfigFile(img, cfg)
}

// Write builds the image and writes the archive that `ctr images import` and
// `podman load` read. An archive that is there already and equal is left alone;
// changed tells which.
func Write(file string, s Spec) (changed bool, err error) {
	tag, err := name.NewTag(s.Ref, name.WithDefaultTag("latest"))
	if err != nil {
		return false, fmt.Errorf("image name %q: %w", s.Ref, err)
	}
	img, err := Build(s)
	if err != nil {
		return false, err
	}
	id, err := img.ConfigName()
	if err != nil {
		return false, fmt.Errorf("image %s: %w", s.Ref, err)
	}
	if have, err := tarball.ImageFromPath(file, &tag); err == nil {
		if old, err := have.ConfigName(); err == nil && old == id {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return false, err
	}
	tmp := file + ".tmp"
	if err := tarball.WriteToFile(tmp, tag, img); err != nil {
		_ = os.Remove(tmp)
		return false, fmt.Errorf("image %s: write %s: %w", s.Ref, tmp, err)
	}
	return true, os.Rename(tmp, file)
}

// layer gathers entries of one layer by path.
type layer struct{ entries map[string]entry }

type entry struct {
	header tar.Header
	source string // of a regular file
}

func newLayer() *layer { return &layer{entries: map[string]entry{}} }

// parents adds the folders above p.
func (l *layer) parents(p string) {
	for d := path.Dir(p); d != "/" && d != "."; d = path.Dir(d) {
		if _, ok := l.entries[d]; ok {
			return
		}
		l.dir(d)
	}
}

func (l *layer) dir(p string) {
	p = path.Clean(p)
	l.parents(p)
	mode := int64(0o755)
	if p == "/tmp" {
		mode = 0o1777
	}
	l.entries[p] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: mode}}
}

func (l *layer) symlink(p, target string) {
	l.parents(p)
	l.entries[p] = entry{header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func (l *layer) file(p, source string) {
	l.parents(p)
	l.entries[p] = entry{header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o755}, source: source}
}

// hostFiles adds the files of this machine that match a pattern, with their libraries.
func (l *layer) hostFiles(pattern string) error {
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no file on this machine is %s: install the package that has it", pattern)
	}
	if err != nil {
		return err
	}
	for _, f := range found {
		needed, err := libraries(f)
		if err != nil {
			return err
		}
		for _, n := range append(needed, f) {
			l.file(n, n)
		}
	}
	return nil
}

// build writes the entries in the order of their paths, with no times, into a layer.
func (l *layer) build() (v1.Layer, error) {
	paths := make([]string, 0, len(l.entries))
	for p := range l.entries {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range paths {
		if err := l.entries[p].write(w, strings.TrimPrefix(p, "/")); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	data := buf.Bytes()
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
}

func (e entry) write(w *tar.Writer, name string) error {
	h := e.header
	h.Name, h.ModTime = name, time.Unix(0, 0)
	if e.source == "" {
		return w.WriteHeader(&h)
	}
	f, err := os.Open(e.source)
	if err != nil {
		return fmt.Errorf("file for the image: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = st.Size()
	if err := w.WriteHeader(&h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
