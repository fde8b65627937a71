package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Config is what the image says of itself.
type Config struct {
	Entrypoint []string // nil means the program, "/bin/<name>"
	Cmd        []string
	Env        []string // "KEY=value"; nil means PATH=/bin
	User       string
	WorkingDir string
	Files      map[string]string // further files by absolute path, mode 0644
}

// Build makes an image whose single layer holds the program as /bin/<its file name>, a few directories and an /etc/passwd with root
// and nobody. The program must be static: nothing else is in there.
func Build(program string, c Config) (v1.Image, error) {
	layer, err := buildLayer(program, c.Files)
	if err != nil {
		return nil, fmt.Errorf("build image of %s: %w", program, err)
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }
	l, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("build image of %s: %w", program, err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, l); err != nil {
		return nil, fmt.Errorf("build image of %s: %w", program, err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("build image of %s: %w", program, err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", runtime.GOARCH
	cf.Config = v1.Config{Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, User: c.User, WorkingDir: c.WorkingDir}
	if c.Entrypoint == nil {
		cf.Config.Entrypoint = []string{"/bin/" + filepath.Base(program)}
	}
	if c.Env == nil {
		cf.Config.Env = []string{"PATH=/bin"}
	}
	return mutate.ConfigFile(img, cf)
}

// WriteTar writes a docker archive, as "docker save" does, under the name ref.
func WriteTar(img v1.Image, dst, ref string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("write image archive %s: %w", dst, err)
	}
	return replace(dst, func(w io.Writer) error { return tarball.Write(tag, img, w) })
}

func buildLayer(program string, files map[string]string) ([]byte, error) {
	b, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	w := &layerWriter{}
	w.tar = tar.NewWriter(&w.buf)
	for _, d := range []string{"bin/", "dev/", "etc/", "proc/", "root/", "run/", "sys/", "var/"} {
		w.dir(d, 0o755)
	}
	w.dir("tmp/", 0o1777)
	w.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	w.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	w.file("bin/"+filepath.Base(program), 0o755, b)
	for _, path := range sortedKeys(files) {
		w.file(path[1:], 0o644, []byte(files[path]))
	}
	if w.err == nil {
		w.err = w.tar.Close()
	}
	return w.buf.Bytes(), w.err
}

// layerWriter keeps the first error.
type layerWriter struct {
	buf bytes.Buffer
	tar *tar.Writer
	err error
}

func (w *layerWriter) dir(path string, mode int64) {
	if w.err == nil {
		w.err = w.tar.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeDir, Mode: mode})
	}
}

func (w *layerWriter) file(path string, mode int64, data []byte) {
	if w.err == nil {
		w.err = w.tar.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(data))})
	}
	if w.err == nil {
		_, w.err = w.tar.Write(data)
	}
}
