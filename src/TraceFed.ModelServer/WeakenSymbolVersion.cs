// Compiled by Torch.targets, not into the project; against .NET Standard 2.0, so without spans.
using System;
using System.IO;
using System.Linq;
using System.Text;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

/// <summary>Copies a 64-bit little-endian ELF library; where the system's libstdc++ lacks a symbol version that it asks for, the copy asks weakly.</summary>
public class WeakenSymbolVersion : Task
{
    private const int VersionNeedSection = 0x6ffffffe; // SHT_GNU_verneed
    private const byte Weak = 2; // VER_FLG_WEAK

    [Required]
    public string Source { get; set; }

    [Required]
    public string Target { get; set; }

    [Required]
    public string Version { get; set; }

    public override bool Execute()
    {
        var library = File.ReadAllBytes(Source);
        if (!SystemHas())
        {
            var marked = Mark(library);
            if (marked == 0)
            {
                Log.LogError("{0} does not ask for {1}; Torch.targets was written for another release.", Source, Version);
                return false;
            }
            Log.LogMessage(MessageImportance.High, "{0}: {1} is now asked for weakly; the system's libstdc++ lacks it.", Path.GetFileName(Target), Version);
        }
        Directory.CreateDirectory(Path.GetDirectoryName(Target));
        File.WriteAllBytes(Target, library);
        return true;
    }

    private bool SystemHas()
    {
        var bytes = Encoding.GetEncoding("iso-8859-1");
        return new[] { "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib", "/lib" }
            .Select(folder => Path.Combine(folder, "libstdc++.so.6"))
            .Where(File.Exists)
            .Take(1) // what the loader finds first
            .Any(file => bytes.GetString(File.ReadAllBytes(file)).IndexOf(Version + "\0", StringComparison.Ordinal) >= 0);
    }

    /// <summary>Walks the section of needed versions: one Verneed of 16 bytes per library, each with a chain of Vernaux of 16 bytes.</summary>
    private int Mark(byte[] elf)
    {
        var marked = 0;
        var sections = (int)U64(elf, 0x28);
        var (size, count) = (U16(elf, 0x3A), U16(elf, 0x3C));
        for (var s = 0; s < count; s++)
        {
            var header = sections + s * size;
            if (U32(elf, header + 4) != VersionNeedSection)
            {
                continue;
            }
            var strings = (int)U64(elf, sections + (int)U32(elf, header + 40) * size + 24);
            var need = (int)U64(elf, header + 24);
            for (var left = (int)U32(elf, header + 44); left > 0; left--)
            {
                var aux = need + (int)U32(elf, need + 8);
                for (var versions = U16(elf, need + 2); versions > 0; versions--)
                {
                    if (Name(elf, strings + (int)U32(elf, aux + 8)) == Version)
                    {
                        elf[aux + 4] |= Weak;
                        marked++;
                    }
                    aux += (int)U32(elf, aux + 12);
                }
                need += (int)U32(elf, need + 12);
            }
        }
        return marked;
    }

    private static string Name(byte[] elf, int at) => Encoding.ASCII.GetString(elf, at, Array.IndexOf(elf, (byte)0, at) - at);

    private static ushort U16(byte[] elf, int at) => BitConverter.ToUInt16(elf, at);

    private static uint U32(byte[] elf, int at) => BitConverter.ToUInt32(elf, at);

    private static ulong U64(byte[] elf, int at) => BitConverter.ToUInt64(elf, at);
}
