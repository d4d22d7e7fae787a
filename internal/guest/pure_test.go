package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParsePackage(t *testing.T) {
	const show = `Package: linux-image-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
Architecture: amd64
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)
Description-en: Linux for 64-bit PCs (meta-package)
`
	p, err := parsePackage(show)
	if want := (kernelPackage{"linux-image-6.1.0-56-amd64", "6.1.192-2"}); err != nil || p != want {
		t.Errorf("%+v, %v; want %+v", p, err, want)
	}
	if got, want := p.key(), "6.1.0-56-amd64_6.1.192-2"; got != want {
		t.Errorf("key %q, want %q", got, want)
	}
	if _, err := parsePackage("Package: linux-image-amd64\n"); err == nil {
		t.Error("a package without a kernel was accepted")
	}
}

func TestNewest(t *testing.T) {
	cache := t.TempDir()
	if k, ok := newest(cache); ok {
		t.Errorf("an empty cache gave %+v", k)
	}
	for _, key := range []string{"6.1.0-1-amd64_6.1.1-1", "6.1.0-2-amd64_6.1.2-1", "fetch-1"} {
		dir := filepath.Join(cache, key)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if key == "6.1.0-2-amd64_6.1.2-1" {
			continue // not complete
		}
		if err := os.WriteFile(filepath.Join(dir, "vmlinux"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if k, ok := newest(cache); !ok || k.Release != "6.1.0-1-amd64" {
		t.Errorf("newest is %+v, %v", k, ok)
	}
}

// bzImage is a kernel in the boot protocol's form around a payload.
func bzImage(payload []byte) []byte {
	image := make([]byte, 3*512)
	image[offsetSetupSectors] = 1
	copy(image[offsetMagic:], "HdrS")
	binary.LittleEndian.PutUint16(image[offsetProtocol:], 0x20f)
	binary.LittleEndian.PutUint32(image[offsetPayload:], 512)
	binary.LittleEndian.PutUint32(image[offsetPayloadLength:], uint32(len(payload)))
	return append(append(image, payload...), "behind"...)
}

func TestUnpack(t *testing.T) {
	elf := append([]byte("\x7fELF"), bytes.Repeat([]byte("kernel"), 100)...)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(elf); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	xz := exec.Command("xz", "-c")
	xz.Stdin = bytes.NewReader(elf)
	xzed, err := xz.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, payload := range map[string][]byte{
		"gzip": packed.Bytes(),
		"xz":   append(xzed, 1, 2, 3, 4), // the unpacked size
	} {
		if got, err := unpack(bzImage(payload)); err != nil || !bytes.Equal(got, elf) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	long := bzImage(packed.Bytes())
	binary.LittleEndian.PutUint32(long[offsetPayloadLength:], 1<<31)
	for name, bad := range map[string][]byte{
		"empty": nil, "not a kernel": make([]byte, 4096), "unknown compression": bzImage([]byte("LZ??????")), "cut off": long,
	} {
		if _, err := unpack(bad); err == nil {
			t.Errorf("%s was unpacked", name)
		}
	}
}

func TestModuleOrder(t *testing.T) {
	deps := parseDependencies("kernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko kernel/drivers/virtio/virtio-ring.ko\n" +
		"kernel/net/9p/9pnet.ko:\nkernel/drivers/virtio/virtio-ring.ko: kernel/drivers/virtio/virtio.ko\nkernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko\n")
	got, err := deps.order("kernel/fs/overlayfs/overlay.ko\n", "9p", "overlay", "9pnet_virtio")
	want := []string{"kernel/net/9p/9pnet.ko", "kernel/fs/9p/9p.ko", "kernel/drivers/virtio/virtio-ring.ko", "kernel/net/9p/9pnet_virtio.ko"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("order %q, %v; want %q", got, err, want)
	}
	if _, err := deps.order("", "overlay"); err == nil || !strings.Contains(err.Error(), "overlay") {
		t.Errorf("a missing module gave the error %v", err)
	}
}

// TestCPIO has another program read the archive.
func TestCPIO(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox")
	}
	var c cpio
	c.dir("d")
	c.file("d/odd", modeExec, []byte("12345"))
	c.file("d/empty", modeFile, nil)
	dir := t.TempDir()
	cmd := exec.Command(busybox, "cpio", "-i")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(c.bytes())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio -i: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "d/odd"))
	if err != nil || string(text) != "12345" {
		t.Errorf("d/odd is %q, %v", text, err)
	}
	if s, err := os.Stat(filepath.Join(dir, "d/odd")); err != nil || s.Mode().Perm() != 0o755 {
		t.Errorf("d/odd: %v, %v", s, err)
	}
	if s, err := os.Stat(filepath.Join(dir, "d/empty")); err != nil || s.Size() != 0 {
		t.Errorf("d/empty: %v, %v", s, err)
	}
}

func TestTail(t *testing.T) {
	if got, want := tail("a\r\nb\r\nc\r\n", 2), "  | b\n  | c"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
