package containerd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

const (
	helperTimeout   = 20 * time.Second
	maxHelperOutput = 1 << 20
	maxDockerConfig = 4 << 20
)

// login finds the credentials for a registry: the job's for the image's own, the agent's, those of the docker config file, those of
// the credential helper. None is an answer too.
func (d *Driver) login(ctx context.Context, p *pullState, host string) (user, secret string, err error) {
	if !p.auth.empty() && sameRegistry(host, p.registry) {
		return p.auth.Username, p.auth.Password, nil
	}
	c := d.cfg.Pulls
	if r := c.registry(host); r.Username != "" || r.Password != "" {
		return r.Username, r.Password, nil
	}
	user, secret, err = c.stored(ctx, CanonicalRegistry(host))
	if err != nil && p.softFail {
		d.log.Warn("cannot find credentials, going on without", "registry", host, "error", err)
		return "", "", nil
	}
	if err != nil {
		return "", "", &loginError{host, err}
	}
	return user, secret, nil
}

// loginError is a failure to find credentials, which another attempt would meet again.
type loginError struct {
	host string
	err  error
}

func (e *loginError) Error() string {
	return fmt.Sprintf("find credentials for registry %s: %v", e.host, e.err)
}
func (e *loginError) Unwrap() error { return e.err }

// dockerConfig is what counts of a file that docker login writes.
type dockerConfig struct {
	Auths       map[string]dockerAuth `json:"auths"`
	CredHelpers map[string]string     `json:"credHelpers"`
	CredsStore  string                `json:"credsStore"`
}

type dockerAuth struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// stored asks the file, then the helper that is for everything.
func (c PullConfig) stored(ctx context.Context, registry string) (user, secret string, err error) {
	if c.DockerConfig != "" {
		user, secret, err = fromDockerConfig(ctx, c.DockerConfig, registry)
		if err != nil || user != "" || secret != "" {
			return user, secret, err
		}
	}
	if c.Helper == "" {
		return "", "", nil
	}
	return askHelper(ctx, c.Helper, registry)
}

// fromDockerConfig reads the file anew each time: somebody may have logged in meanwhile.
func fromDockerConfig(ctx context.Context, path, registry string) (user, secret string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err
	}
	if info.Size() > maxDockerConfig {
		return "", "", fmt.Errorf("%s is larger than %d bytes", path, maxDockerConfig)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	var c dockerConfig
	if err := json.Unmarshal(b, &c); err != nil {
		return "", "", fmt.Errorf("read %s: it is not a docker config file: %w", path, withoutText(err))
	}
	for _, key := range sortedKeys(c.CredHelpers) {
		if sameRegistry(key, registry) {
			return askHelper(ctx, c.CredHelpers[key], key)
		}
	}
	for _, key := range sortedKeys(c.Auths) {
		if !sameRegistry(key, registry) {
			continue
		}
		if user, secret, err = c.Auths[key].credentials(); err != nil {
			return "", "", fmt.Errorf("read %s: auths %q: %w", path, key, err)
		}
		if user != "" || secret != "" {
			return user, secret, nil
		}
	}
	if c.CredsStore != "" {
		return askHelper(ctx, c.CredsStore, registry)
	}
	return "", "", nil
}

// withoutText leaves what a JSON error may quote out of messages: it may be a password.
func withoutText(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("wrong at byte %d", syntax.Offset)
	}
	return errors.New("a value has the wrong type")
}

func (a dockerAuth) credentials() (user, secret string, err error) {
	switch {
	case a.IdentityToken != "":
		return "", a.IdentityToken, nil // the authorizer takes a secret without a name for a token
	case a.Auth == "":
		return a.Username, a.Password, nil
	}
	b, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		return "", "", errors.New("auth is not base64")
	}
	user, secret, ok := strings.Cut(strings.TrimRight(string(b), "\x00"), ":")
	if !ok {
		return "", "", errors.New("auth is not user:password")
	}
	return user, secret, nil
}

var (
	helperName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)
	// errNotStored is how helpers of Docker's own say that they know no login.
	errNotStored = []byte("credentials not found in native keychain")
)

// askHelper speaks the protocol of Docker's credential helpers: the registry on standard input, JSON on standard output.
func askHelper(ctx context.Context, name, registry string) (user, secret string, err error) {
	if !helperName.MatchString(name) {
		return "", "", fmt.Errorf("%q is not the name of a credential helper", name)
	}
	if registry == dockerHub {
		registry = "https://index.docker.io/v1/" // the name under which docker login stores it
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	program := "docker-credential-" + name
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.WaitDelay = time.Second
	var out, stderr headBuffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(registry), &out, &stderr
	if err := cmd.Run(); err != nil {
		said := bytes.TrimSpace(append(out.Bytes(), stderr.Bytes()...))
		if bytes.Contains(said, errNotStored) {
			return "", "", nil
		}
		return "", "", fmt.Errorf("run %s: %w: %.200s", program, err, said)
	}
	var reply struct{ Username, Secret string }
	if err := json.Unmarshal(out.Bytes(), &reply); err != nil {
		return "", "", fmt.Errorf("run %s: it does not answer in JSON: %w", program, withoutText(err))
	}
	if reply.Username == "<token>" {
		return "", reply.Secret, nil
	}
	return reply.Username, reply.Secret, nil
}

// headBuffer keeps the beginning of what is written to it.
type headBuffer struct{ bytes.Buffer }

// Write takes everything and keeps what fits.
func (b *headBuffer) Write(p []byte) (int, error) {
	if room := maxHelperOutput - b.Len(); room > 0 {
		_, _ = b.Buffer.Write(p[:min(len(p), room)]) // never fails
	}
	return len(p), nil
}
