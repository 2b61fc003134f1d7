// libtorch's threads and its count of tensors are the process's: tests follow one another.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
