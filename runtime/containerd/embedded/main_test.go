package embedded

import (
	"strings"
	"testing"
)

// Only command lines that containerd makes are taken for a shim's: "drover -namespace prod status" is a user's.
func TestIsShim(t *testing.T) {
	for line, want := range map[string]bool{
		"/data/bin/containerd-shim-runc-v2 -v":                                   true,
		"/usr/bin/drover -namespace drover -id x -address /run/x.sock":           true,
		"drover -namespace n -address a -publish-binary b -id i -bundle c start": true,
		"drover -namespace prod status":                                          false,
		"drover":                                                                 false,
		"drover containerd":                                                      false,
		"drover agent -dev":                                                      false,
		"drover job run -namespace x -id y -address z":                           false,
	} {
		if got := isShim(strings.Fields(line)); got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
}

func TestMainLeavesOtherCommandsAlone(t *testing.T) {
	for _, line := range []string{"", "drover", "drover agent", "drover job run x"} {
		if handled, _ := Main(strings.Fields(line)); handled {
			t.Errorf("%q was handled", line)
		}
	}
	if handled, code := Main([]string{"drover", "containerd"}); !handled || code != 1 {
		t.Errorf("a daemon with the host's directories: %v, %d", handled, code)
	}
}
