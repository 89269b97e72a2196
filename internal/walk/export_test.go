package walk

// Remembered is how many states the feed holds in memory.
func (f *Feed[T]) Remembered() int { return len(f.yielded.states) }
