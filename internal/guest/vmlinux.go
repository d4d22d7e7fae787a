package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
)

// Offsets in a bzImage's header (Documentation/arch/x86/boot.rst).
const (
	offsetSetupSectors  = 0x1f1
	offsetMagic         = 0x202
	offsetProtocol      = 0x206
	offsetPayload       = 0x248
	offsetPayloadLength = 0x24c
	headerEnd           = 0x250
)

// payload is the compressed ELF kernel inside a bzImage. Booting it unpacked saves an
// emulated machine the work of unpacking it.
func payload(bzImage []byte) ([]byte, error) {
	if len(bzImage) < headerEnd || string(bzImage[offsetMagic:offsetMagic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage: its header has no HdrS")
	}
	le := binary.LittleEndian
	if v := le.Uint16(bzImage[offsetProtocol:]); v < 0x208 {
		return nil, fmt.Errorf("boot protocol %#x does not say where the kernel is; 0x208 does", v)
	}
	sectors := int64(bzImage[offsetSetupSectors])
	if sectors == 0 {
		sectors = 4
	}
	from := (sectors+1)*512 + int64(le.Uint32(bzImage[offsetPayload:]))
	to := from + int64(le.Uint32(bzImage[offsetPayloadLength:]))
	if to > int64(len(bzImage)) || to-from < 4 {
		return nil, fmt.Errorf("the kernel inside should be at %d to %d of %d bytes", from, to, len(bzImage))
	}
	return bzImage[from:to], nil
}

// compressions are those that Debian's kernels have had. The kernel's build appends the
// unpacked size, 4 bytes, to what does not end with it by its own format.
var compressions = []struct {
	magic    string
	program  string
	appended int
}{
	{"\xfd7zXZ\x00", "xz", 4},
	{"\x28\xb5\x2f\xfd", "zstd", 4},
	{"\x1f\x8b\x08", "gzip", 0},
}

// unpack gives the ELF kernel inside a bzImage.
func unpack(bzImage []byte) ([]byte, error) {
	packed, err := payload(bzImage)
	if err != nil {
		return nil, err
	}
	for _, c := range compressions {
		if !bytes.HasPrefix(packed, []byte(c.magic)) {
			continue
		}
		cmd := exec.Command(c.program, "-dc")
		cmd.Stdin = bytes.NewReader(packed[:len(packed)-c.appended])
		elf, err := cmd.Output()
		if err == nil && !bytes.HasPrefix(elf, []byte("\x7fELF")) {
			err = errors.New("the result is not an ELF file")
		}
		if err != nil {
			return nil, fmt.Errorf("unpack the kernel by %s: %w", c.program, err)
		}
		return elf, nil
	}
	return nil, fmt.Errorf("the kernel is compressed in an unknown way (it begins with % x)", packed[:min(6, len(packed))])
}
