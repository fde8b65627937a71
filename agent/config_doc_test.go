package agent

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write docs/configuration.md anew")

// TestConfigurationPage keeps docs/configuration.md equal to the table of keys.
func TestConfigurationPage(t *testing.T) {
	const path = "../docs/configuration.md"
	var b strings.Builder
	b.WriteString(`# Configuration

An agent reads HCL or JSON files and directories (` + "`--config`" + `, repeatable, later ones win), then the environment, then its flags. Names are
those of Nomad where it has the concept. This page is written from the table that the agent reads; ` + "`drover config validate`" + `
checks a file.

| key | flag | environment | meaning |
|---|---|---|---|
`)
	code := func(prefix, s string) string {
		if s == "" {
			return ""
		}
		return "`" + prefix + s + "`"
	}
	for _, k := range ConfigKeys() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code("", k.Path), code("--", k.Flag), code("", k.Env), strings.ReplaceAll(k.Meaning, "|", `\|`))
	}
	b.WriteString("\nAn example for three machines is `dist/drover.hcl`.\n")
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is stale: go test ./agent -run ConfigurationPage -rewrite", path)
	}
}
