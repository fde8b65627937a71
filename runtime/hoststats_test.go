package runtime

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestMeasureHost(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"uptime": "3600.50 7000.00\n", "loadavg": "0.50 1.25 2.00 1/100 4242\n", "meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n",
		"stat": "cpu  10 0 10 80 0 0 0 0 0 0\n", "7/statm": "100 3 2 1 0 1 0\n",
	} {
		path := filepath.Join(root, "proc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u, err := MeasureHost(t.Context(), root, root, 7)
	if err != nil {
		t.Fatal(err)
	}
	if u.Uptime != time.Hour+500*time.Millisecond || u.Load != [3]float64{0.5, 1.25, 2} || u.MemTotal != 1000<<10 || u.MemUsed != 750<<10 ||
		u.RSS != 3*uint64(os.Getpagesize()) || u.DiskTotal == 0 || u.DiskUsed > u.DiskTotal || u.CPUPercent != 0 {
		t.Errorf("%+v", u)
	}
	work, all, err := cpuTimes(root)
	if err != nil || work != 20 || all != 100 {
		t.Errorf("%v of %v, %v", work, all, err)
	}
	if _, err := MeasureHost(t.Context(), filepath.Join(root, "nowhere"), root, 7); !os.IsNotExist(err) {
		t.Error(err)
	}
}
