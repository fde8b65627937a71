package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// answer is what every request gets.
type answer struct {
	Alloc   string
	Index   string
	Node    string
	Version string
	PID     int
	Started time.Time
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	a := answer{
		Alloc: os.Getenv("DROVER_ALLOC_ID"), Index: os.Getenv("DROVER_ALLOC_INDEX"), Node: os.Getenv("HELLO_NODE"),
		Version: env("HELLO_VERSION", "1"), PID: os.Getpid(), Started: time.Now(),
	}
	addr := env("HELLO_ADDR", ":"+env("DROVER_PORT_http", "8080"))
	fmt.Printf("hello version %s: alloc %s on %s listens on %s\n", a.Version, a.Alloc, a.Node, addr)

	var wg sync.WaitGroup
	defer wg.Wait()
	if tick := os.Getenv("HELLO_TICK"); tick != "" {
		every, err := time.ParseDuration(tick)
		if err != nil || every <= 0 {
			return fmt.Errorf("parse HELLO_TICK %q: want a duration such as 50ms", tick)
		}
		wg.Go(func() { count(ctx, every) })
	}
	srv := &http.Server{Addr: addr, ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(a); err != nil {
				log.Print(err)
			}
		})}
	wg.Go(func() {
		<-ctx.Done()
		if err := srv.Close(); err != nil {
			log.Print(err)
		}
	})
	defer stop()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	fmt.Println("hello: asked to stop, goodbye")
	return nil
}

// count prints numbered lines, so that a reader of the log can tell whether one is missing.
func count(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fmt.Printf("line %d\n", n)
		}
	}
}

func env(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}
