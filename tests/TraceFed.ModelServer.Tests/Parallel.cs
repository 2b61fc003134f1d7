// libtorch's threads and its count of tensors are the process's: tests follow one another.
[assembly: Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
